// What the configuration says about policies.
#ifndef GRPO_MODEL_OPTIONS_H_
#define GRPO_MODEL_OPTIONS_H_

#include <cstdint>
#include <string>

#include "configs/visit.h"
#include "model/endpoint_options.h"

namespace grpo {

// What the output head holds of the logits at a time (model/lm_head.h), unless told otherwise. Larger chunks read the
// head less often.
inline constexpr int64_t kDefaultHeadChunkBytes = int64_t{64} << 20;

// `policies.<name>`: where a policy's weights come from, or where it answers. Exactly one of initialize_from, path,
// random_init and endpoint. The keys' ranges are checked on loading; what they must have in common by RandomInitConfig,
// MakePolicy and the run's checks.
struct PolicyOptions {
  // Given when hidden_size is not 0. The embedding and the output head are tied, q, k and v have biases.
  struct RandomInit {
    std::string tokenizer;
    std::string eos_token = "<eos>";
    int64_t hidden_size = 0, intermediate_size = 0, num_layers = 0, num_heads = 0, num_kv_heads = 0;
    int64_t max_positions = 512;
    double rope_theta = 10000, rms_norm_eps = 1e-6;

    template <class V>
    void Visit(V& v) {
      v("tokenizer", tokenizer,
        {.help = "A Hugging Face tokenizer.json, relative to this file; its vocabulary sizes the embedding."});
      v("eos_token", eos_token, {.help = "The token that ends a completion and separates documents."});
      v("hidden_size", hidden_size,
        {.help = "Width of the residual stream; 0 means that random_init is not used.", .min = 0, .max = 65536});
      v("intermediate_size", intermediate_size, {.help = "Width inside the SwiGLU.", .min = 0, .max = 1 << 20});
      v("num_layers", num_layers, {.help = "Decoder layers.", .min = 0, .max = 1024});
      v("num_heads", num_heads, {.help = "Query heads; divides hidden_size.", .min = 0, .max = 1024});
      v("num_kv_heads", num_kv_heads, {.help = "Key-value heads; divides num_heads.", .min = 0, .max = 1024});
      v("max_positions", max_positions, {.help = "Longest context.", .unit = "tokens", .min = 1, .max = 1 << 24});
      v("rope_theta", rope_theta, {.help = "Base of the rotary embedding.", .min = 1, .max = 1e12});
      v("rms_norm_eps", rms_norm_eps, {.help = "Added to the mean square in RMSNorm.", .min = 0, .max = 1});
    }
  };

  std::string initialize_from;
  std::string path;
  RandomInit random_init;
  EndpointOptions endpoint;
  std::string compute_dtype = "float32", head_dtype = "float32";

  template <class V>
  void Visit(V& v) {
    v("initialize_from", initialize_from,
      {.help = "Another policy of this run: start from its weights as they are when this policy is first used."});
    v("path", path,
      {.help = "A Hugging Face folder (config.json, tokenizer.json, *.safetensors), relative to this file."});
    v("random_init", random_init, {.help = "A fresh Qwen2-style decoder with random weights."});
    v("endpoint", endpoint,
      {.help = "A policy that is only an address, for synthesize and evaluate stages (docs/api_teacher.md)."});
    v("compute_dtype", compute_dtype,
      {.help =
           "Of the layers' products, in trainer and workers alike; weights, their gradients and sums stay float32, and "
           "so does the output head unless head_dtype says otherwise.",
       .choices = {"float32", "bfloat16"}});
    v("head_dtype", head_dtype,
      {.help =
           "Of the output head's product, in trainer and workers alike; the logits are float32 either way. bfloat16 "
           "is faster, and rounds what is multiplied; so does tf32, less (10 bits of mantissa for 7), on GPUs alone.",
       .choices = {"float32", "bfloat16", "tf32"}});
  }
};

}  // namespace grpo

#endif  // GRPO_MODEL_OPTIONS_H_
