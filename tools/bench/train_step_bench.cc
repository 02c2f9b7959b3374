// Memory and time of a training step: tools/bench/compare_train_steps runs it for each combination of the switches.
//
//   bazel-bin/tools/train_step_bench [--model DIR] [--sequences 8] [--tokens 512] [--steps 3] [--dtype bfloat16]
//       [--activation-checkpointing] [--whole-head] [--threads N]
//
// A step here is what trainer/loop.cc does with one micro-batch: forward, head, clipped policy gradient, backward,
// AdamW. It is written out below because the loop knows no --whole-head: the log-softmax over the logits of all tokens,
// with autograd's own backward, in place of TargetLogprobs. Every token is a target. Without --model the weights are
// random and the shape is SmolLM2-135M's; the flags change it.
//
// Prints one JSON line. state_bytes is resident before the first step: weights, AdamW's two moments, gradients.
// peak_bytes less that is what a step needs beside them: activations, logits and their gradients. One process measures
// one combination, for the peak never falls.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/exit_codes.h"
#include "common/peak_memory.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/lm_head.h"
#include "model/tensor.h"
#include "model/transformer.h"
#include "model/weights/folder.h"
#include "trainer/batch/packer.h"
#include "trainer/loss/loss.h"
#include "trainer/optim/adamw.h"

namespace grpo {
namespace {

constexpr double kLearningRate = 1e-6;

struct Flags {
  std::string model;
  ModelConfig shape;
  int64_t sequences = 8, tokens = 512, steps = 3;
  at::ScalarType dtype = at::kFloat, head_dtype = at::kFloat;
  bool activation_checkpointing = false, whole_head = false;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
};

ModelConfig SmolLm2Shape() {
  ModelConfig config;
  config.family = "llama";
  config.vocab_size = 49152;
  config.hidden_size = 576;
  config.intermediate_size = 1536;
  config.num_layers = 30;
  config.num_heads = 9;
  config.num_kv_heads = 3;
  config.head_dim = 64;
  config.max_positions = 8192;
  config.rope_theta = 100000;
  config.rms_norm_eps = 1e-5;
  config.attention_bias = false;
  config.eos_token_ids = {2};
  return config;
}

absl::StatusOr<std::unique_ptr<Transformer>> LoadOrMake(const Flags& flags) {
  // As the trainer keeps them: the weights stay float32.
  const Placement placement = {.compute = flags.dtype, .storage = at::kFloat, .head = flags.head_dtype};
  if (flags.model.empty()) {
    ASSIGN_OR_RETURN(auto model, Transformer::Create(flags.shape, placement));
    model->InitializeRandom(/*seed=*/1);
    return model;
  }
  ASSIGN_OR_RETURN(LoadedFolder loaded, LoadFolder(flags.model, placement));
  return std::move(loaded.model);
}

// One micro-batch of random tokens, every one of which predicts a target.
Microbatch RandomMicrobatch(const Flags& flags, int64_t vocab_size) {
  Rng rng(/*seed=*/2);
  const int64_t num_tokens = flags.sequences * flags.tokens;
  std::vector<int64_t> ids(num_tokens), target_ids(num_tokens);
  std::vector<float> advantages(num_tokens);
  for (int64_t i = 0; i < num_tokens; ++i) {
    ids[i] = rng.Below(vocab_size);
    target_ids[i] = rng.Below(vocab_size);
    advantages[i] = static_cast<float>(2 * rng.Uniform() - 1);
  }
  Microbatch batch;
  batch.ids = at::tensor(ids);
  batch.positions = at::arange(flags.tokens).repeat({flags.sequences});
  batch.layout.lengths.assign(flags.sequences, flags.tokens);
  batch.predictor_rows = at::arange(num_tokens);
  batch.target_ids = at::tensor(target_ids);
  batch.sequence_of_target = at::arange(flags.sequences).repeat_interleave(flags.tokens);
  batch.group_of_target = batch.sequence_of_target;
  batch.streams[stream::kAdvantage] = at::tensor(advantages);
  batch.streams[stream::kRlWeight] = at::full({num_tokens}, 1.0 / static_cast<double>(num_tokens));
  return batch;
}

// log-probability of each target, [M].
at::Tensor Logprobs(const Transformer& model, const Microbatch& batch, const Flags& flags) {
  const auto attention = std::make_shared<PackedAttention>(batch.layout);
  const at::Tensor hidden = flags.activation_checkpointing && at::GradMode::is_enabled()
                                ? model.CheckpointedForward(batch.ids, batch.positions, attention)
                                : model.Forward(batch.ids, batch.positions, *attention);  // [N, D]
  const at::Tensor predictors = hidden.index_select(0, batch.predictor_rows);             // [M, D]
  if (!flags.whole_head)
    return TargetLogprobs(predictors, model.head(), batch.target_ids, /*temperature=*/1, kDefaultHeadChunkBytes,
                          model.placement().head);
  return at::log_softmax(model.Logits(predictors), -1).gather(1, batch.target_ids.unsqueeze(1)).squeeze(1);
}

int64_t ResidentBytes() {
  // What the allocator keeps for later is not needed.
  malloc_trim(0);
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

absl::Status Run(const Flags& flags) {
  at::set_num_threads(std::max(1, flags.threads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Transformer> model, LoadOrMake(flags));
  model->RequireGrad();
  AdamW optimizer(model->NamedParameters(), OptimizerOptions{});
  ASSIGN_OR_RETURN(const std::unique_ptr<Loss> loss, MakeLoss("clipped_policy_gradient"));
  return TorchGuard([&] {
    Microbatch batch = RandomMicrobatch(flags, model->config().vocab_size);
    {
      // On policy: all ratios are 1, as in a run's first update. Chunked in any case, so that it sets no peak.
      const at::NoGradGuard no_grad;
      Flags sampling = flags;
      sampling.whole_head = false;
      batch.streams[stream::kSampleLogprob] = Logprobs(*model, batch, sampling);
    }
    optimizer.Gradients();  // makes them
    const int64_t state_bytes = ResidentBytes();
    std::vector<double> seconds;
    double last_loss = 0;
    for (int64_t step = 0; step < flags.steps; ++step) {
      const auto begin = std::chrono::steady_clock::now();
      optimizer.ZeroGrad();
      const at::Tensor value = loss->Compute({.policy_logprob = Logprobs(*model, batch, flags),
                                              .streams = batch.streams,
                                              .sequence_of_target = batch.sequence_of_target,
                                              .group_of_target = batch.group_of_target,
                                              .outputs = {}})
                                   .loss;
      value.backward();
      optimizer.Step(kLearningRate);
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      last_loss = value.item<double>();
    }
    std::sort(seconds.begin(), seconds.end());
    const int64_t peak_bytes = PeakMemoryBytes();
    // The last step's. On policy the first loss is the advantages' mean whatever the model computes; this is not.
    const double grad_norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(optimizer.Gradients()))).item<double>();
    std::cout << nlohmann::ordered_json{{"step_s_median", seconds[seconds.size() / 2]},
                                        {"step_s_min", seconds.front()},
                                        {"state_bytes", state_bytes},
                                        {"peak_bytes", peak_bytes},
                                        {"step_bytes", peak_bytes - state_bytes},
                                        {"num_parameters", model->config().NumParameters()},
                                        {"loss", last_loss},
                                        {"grad_norm", grad_norm}}
              << std::endl;
    return absl::OkStatus();
  });
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--model", flags.model, "A Hugging Face folder in place of random weights")->option_text("DIR");
  const auto count = [&app](const char* name, int64_t& value, const char* help) {
    app.add_option(name, value, help)
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
        ->capture_default_str()
        ->type_name("")
        ->option_text("N");
  };
  count("--sequences", flags.sequences, "Sequences of the micro-batch");
  count("--tokens", flags.tokens, "Tokens of each");
  count("--steps", flags.steps, "Steps to time");
  static const std::map<std::string, at::ScalarType> kDtypes = {{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}};
  app.add_option("--dtype", flags.dtype, "What the layers compute in (default: float32)")
      ->transform(CLI::CheckedTransformer(kDtypes, CLI::ignore_case).description("float32|bfloat16"))
      ->option_text("float32|bfloat16");
  app.add_option("--head-dtype", flags.head_dtype, "What the output head computes in (default: float32)")
      ->transform(CLI::CheckedTransformer(kDtypes, CLI::ignore_case).description("float32|bfloat16"))
      ->option_text("float32|bfloat16");
  app.add_flag("--activation-checkpointing", flags.activation_checkpointing, "Compute each layer a second time");
  app.add_flag("--whole-head", flags.whole_head, "Log-softmax over the logits of all tokens at once");
  app.add_option("--threads", flags.threads, "Threads (default: one for each core)")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  count("--vocab-size", flags.shape.vocab_size, "Of the random model, like all below");
  count("--hidden-size", flags.shape.hidden_size, "");
  count("--intermediate-size", flags.shape.intermediate_size, "");
  count("--num-layers", flags.shape.num_layers, "");
  count("--num-heads", flags.shape.num_heads, "");
  count("--num-kv-heads", flags.shape.num_kv_heads, "");
  count("--head-dim", flags.shape.head_dim, "");
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  grpo::Flags flags;
  flags.shape = grpo::SmolLm2Shape();
  CLI::App app("Memory and time of a training step, as one JSON line.", "train_step_bench");
  grpo::AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? grpo::kExitOk : grpo::kExitUsage;
  }
  const absl::Status status = grpo::Run(flags);
  if (!status.ok()) std::cerr << "train_step_bench: " << status.message() << "\n";
  return grpo::ExitCodeFor(status);
}
