#include "model/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/status_testing.h"
#include "model/families.h"

namespace grpo {
namespace {

using nlohmann::json;

// As transformers 4 writes it, with fields that change nothing here.
json Qwen2() {
  return json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 5, "eos_token_id": 7, "hidden_act": "silu",
    "hidden_size": 96, "initializer_range": 0.02, "intermediate_size": 200, "max_position_embeddings": 1024,
    "max_window_layers": 21, "model_type": "qwen2", "num_attention_heads": 6, "num_hidden_layers": 3, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false, "vocab_size": 320
  })");
}

TEST(ModelConfigTest, ReadsTransformers4) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ParseModelConfig(Qwen2().dump()));
  EXPECT_EQ(config.family, "qwen2");
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.hidden_size, 96);
  EXPECT_EQ(config.intermediate_size, 200);
  EXPECT_EQ(config.num_layers, 3);
  EXPECT_EQ(config.num_heads, 6);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.max_positions, 1024);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_TRUE(config.attention_bias);
  EXPECT_EQ(config.eos_token_ids, std::vector<int64_t>{7});
  EXPECT_EQ(config.pad_token_id, 7) << "no pad token: the first end token";
}

TEST(ModelConfigTest, ReadsTransformers5AndSeveralEndTokens) {
  json file = Qwen2();
  file.erase("rope_theta");
  file.erase("rope_scaling");
  file["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  file["layer_types"] = {"full_attention", "full_attention", "full_attention"};
  file["eos_token_id"] = {7, 9};
  file["pad_token_id"] = 3;
  file["head_dim"] = 24;
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ParseModelConfig(file.dump()));
  EXPECT_EQ(config.rope_theta, 5e5);
  EXPECT_EQ(config.eos_token_ids, (std::vector<int64_t>{7, 9}));
  EXPECT_EQ(config.pad_token_id, 3);
  EXPECT_EQ(config.head_dim, 24);
}

// As transformers 4 writes Llama 3.1's, SmolLM2's extra fields beside them.
json Llama() {
  json file = Qwen2();
  for (const char* field : {"max_window_layers", "sliding_window", "use_sliding_window"}) file.erase(field);
  file["architectures"] = {"LlamaForCausalLM"};
  file["model_type"] = "llama";
  file["attention_bias"] = file["mlp_bias"] = file["rope_interleaved"] = false;
  file["is_llama_config"] = true;
  file["pretraining_tp"] = 1;
  file["rope_scaling"] = {{"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 8192},
                          {"rope_type", "llama3"}};
  return file;
}

TEST(ModelConfigTest, ReadsLlamaInBothSpellings) {
  json old = Llama(), recent = Llama();
  recent.erase("rope_theta");
  recent.erase("rope_scaling");
  recent["rope_parameters"] = Llama()["rope_scaling"];
  recent["rope_parameters"]["rope_theta"] = 1e6;
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ParseModelConfig(old.dump()));
  EXPECT_FALSE(config.attention_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_EQ(config.rope_scaling.type, RopeScaling::Type::kLlama3);
  EXPECT_EQ(config.rope_scaling.factor, 8);
  EXPECT_EQ(config.rope_scaling.high_freq_factor, 4);
  EXPECT_EQ(config.rope_scaling.original_max_positions, 8192);
  EXPECT_EQ(config.bos_token_id, 5);
  ASSERT_OK_AND_ASSIGN(const ModelConfig same, ParseModelConfig(recent.dump()));
  EXPECT_EQ(ModelConfigJson(same), ModelConfigJson(config));
  // transformers' default where neither is given, as in the files of Llama 2.
  for (const char* field : {"rope_theta", "rope_scaling"}) old.erase(field);
  ASSERT_OK_AND_ASSIGN(const ModelConfig plain, ParseModelConfig(old.dump()));
  EXPECT_EQ(plain.rope_theta, 10000);
}

TEST(ModelConfigTest, ReadsQwen3) {
  json file = Qwen2();
  file["architectures"] = {"Qwen3ForCausalLM"};
  file["model_type"] = "qwen3";
  file["attention_bias"] = false;
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ParseModelConfig(file.dump()));
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_EQ(config.head_dim, 128) << "transformers' default";
}

TEST(ModelConfigTest, WhatIsWrittenIsReadBackInEveryFamily) {
  for (const char* family : {"llama", "qwen2", "qwen3"}) {
    ModelConfig config = *ParseModelConfig(Llama().dump());
    config.family = family;
    config.attention_bias = config.family == "qwen2";
    config.qk_norm = config.family == "qwen3";
    for (const auto type : {RopeScaling::Type::kDefault, RopeScaling::Type::kLinear, RopeScaling::Type::kLlama3}) {
      config.rope_scaling.type = type;
      const std::string text = ModelConfigJson(config);
      ASSERT_OK_AND_ASSIGN(const ModelConfig back, ParseModelConfig(text));
      EXPECT_EQ(ModelConfigJson(back), text);
      EXPECT_EQ(back.rope_scaling.type, type);
      EXPECT_EQ(back.qk_norm, config.qk_norm);
      EXPECT_EQ(back.attention_bias, config.attention_bias);
    }
  }
}

TEST(ModelConfigTest, WhatIsWrittenIsReadBack) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, ParseModelConfig(Qwen2().dump()));
  config.rms_norm_eps = 0.1 + 0.2;  // no short decimal
  config.tie_word_embeddings = false;
  config.eos_token_ids = {7, 9};
  const std::string text = ModelConfigJson(config);
  ASSERT_OK_AND_ASSIGN(const ModelConfig back, ParseModelConfig(text));
  EXPECT_EQ(back.rms_norm_eps, config.rms_norm_eps);
  EXPECT_FALSE(back.tie_word_embeddings);
  EXPECT_EQ(ModelConfigJson(back), text);
}

TEST(ModelConfigTest, CountsParameters) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, ParseModelConfig(Qwen2().dump()));
  // q 96x96, k and v 32x96, o 96x96, biases 160, SwiGLU 3 of 200x96, two norms; the embedding 320x96; the final norm.
  const int64_t layer = 96 * 96 + 2 * 32 * 96 + 96 * 96 + 160 + 3 * 200 * 96 + 2 * 96;
  EXPECT_EQ(config.NumParameters(), 3 * layer + 320 * 96 + 96);
  config.tie_word_embeddings = false;
  EXPECT_EQ(config.NumParameters(), 3 * layer + 2 * 320 * 96 + 96);
}

TEST(ModelConfigTest, RefusesByNameAndValueWhatItCannotCompute) {
  const struct {
    const char *field, *value, *message;
  } kCases[] = {
      {"model_type", R"("mamba")", R"(model_type is "mamba", which is not supported; supported: llama, qwen2, qwen3)"},
      {"model_type", "3", "model_type is missing or not a text"},
      {"use_sliding_window", "true", "use_sliding_window is true, and only false is supported"},
      {"architectures", R"(["Qwen2ForSequenceClassification"])",
       R"(architectures holds "Qwen2ForSequenceClassification")"},
      {"rope_scaling", R"({"type":"yarn","factor":4})", R"(rope_scaling: rope_type is "yarn"; supported: default)"},
      {"rope_scaling", R"({"type":"linear"})", "rope_scaling: factor is missing"},
      {"rope_scaling", R"({"type":"linear","factor":0.5})", "rope_scaling.factor is 0.5"},
      {"rope_scaling", R"({"type":"linear","rope_type":"llama3"})", R"(type is "linear", and only "llama3")"},
      {"rope_scaling", R"({"rope_type":"llama3","factor":8,"low_freq_factor":1})", "high_freq_factor is missing"},
      {"rope_scaling",
       R"({"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,"original_max_position_embeddings":8})",
       "low_freq_factor is 4 and high_freq_factor 1"},
      {"rope_parameters", R"({"rope_type":"longrope"})", R"(rope_parameters: rope_type is "longrope")"},
      {"rope_parameters", R"({"rope_theta":1e6,"factor":8})",
       "rope_parameters: factor is 8, and this field is not known"},
      {"rope_parameters", R"({"rope_theta":1e4})", "rope_parameters: rope_theta differs from the one outside"},
      {"rope_parameters", R"({"full_attention":{"rope_theta":1e4}})", "rope_parameters: full_attention is"},
      {"rope_parameters", "[1]", "rope_parameters is [1], expected an object"},
      {"no_such_field", "1.5", "no_such_field is 1.5, and this field is not known"},
      {"use_mrope", "true", "use_mrope is true"},
      {"layer_types", R"("full_attention")", "expected a list"},
      {"hidden_act", R"("gelu")", R"(hidden_act is "gelu", and only "silu" is supported)"},
      {"layer_types", R"(["full_attention","sliding_attention"])", R"(layer_types holds "sliding_attention")"},
      {"quantization_config", R"({"bits":4})", "quantization_config is"},
      {"hidden_size", R"("96")", R"(hidden_size is "96", expected an integer)"},
      {"hidden_size", "96.5", "hidden_size is 96.5, expected an integer"},
      {"hidden_size", "-96", "hidden_size is -96"},
      {"vocab_size", "18446744073709551615", "vocab_size is 18446744073709551615"},
      {"vocab_size", "null", "vocab_size is missing"},
      {"rope_theta", "0", "rope_theta is 0"},
      {"rms_norm_eps", "-1", "rms_norm_eps is -1"},
      {"num_key_value_heads", "4", "num_heads is 6, which num_kv_heads 4 does not divide"},
      {"max_position_embeddings", "16777216", "max_position_embeddings is 16777216 and head_dim 16; their product"},
      {"head_dim", "15", "head_dim is 15, expected an even number"},
      {"tie_word_embeddings", "1", "tie_word_embeddings is 1, expected true or false"},
      {"eos_token_id", "null", "eos_token_id is missing"},
      {"eos_token_id", "[7,320]", "eos_token_id is 320, expected 0 to 319"},
      {"eos_token_id", R"([7,"x"])", R"(eos_token_id holds "x")"},
      {"pad_token_id", "-2", "pad_token_id is -2"},
      {"partial_rotary_factor", "0.5", "partial_rotary_factor is 0.5"},
  };
  for (const auto& [field, value, message] : kCases) {
    json file = Qwen2();
    file[field] = json::parse(value);
    EXPECT_STATUS(ParseModelConfig(file.dump()), absl::StatusCode::kInvalidArgument, message);
  }
}

TEST(ModelConfigTest, SaysWhatItIgnores) {
  const struct {
    const char *field, *value, *ignored;
  } kCases[] = {
      {"unsloth_fixed", "true", "unsloth_fixed true: a note of the program that wrote the folder"},
      {"unsloth_version", R"("2025.3.19")", R"(unsloth_version "2025.3.19": a note)"},
      {"gradient_checkpointing", "true", "gradient_checkpointing true: trainer.activation_checkpointing"},
      {"gradient_checkpointing", "false", nullptr},
      {"attention_dropout", "0.1", "attention_dropout 0.1: dropout is not applied"},
      {"attention_dropout", "0.0", nullptr},
      {"resid_pdrop", "0.1", "resid_pdrop 0.1: dropout is not applied"},
      {"auto_map", R"({"AutoModelForCausalLM":"modeling.X"})",
       "auto_map {\"AutoModelForCausalLM\":\"modeling.X\"}: code"},
      {"_attn_implementation", R"("sdpa")", R"(_attn_implementation "sdpa": another way)"},
      {"attn_implementation", R"("flash_attention_2")", "attn_implementation"},
      {"use_flash_attn", "true", "use_flash_attn true"},
      {"partial_rotary_factor", "1.0", nullptr},
      {"pad_token_id", "-1", "pad_token_id -1: there is no such token"},
      {"use_cache", "true", nullptr},
  };
  const ModelConfig plain = *ParseModelConfig(Qwen2().dump());
  for (const auto& [field, value, expected] : kCases) {
    json file = Qwen2();
    file[field] = json::parse(value);
    std::vector<std::string> ignored;
    ASSERT_OK_AND_ASSIGN(const ModelConfig config, ParseModelConfig(file.dump(), "", &ignored));
    EXPECT_EQ(ModelConfigJson(config), ModelConfigJson(plain)) << field;
    ASSERT_EQ(ignored.size(), expected == nullptr ? 0u : 1u) << field;
    if (expected != nullptr) {
      EXPECT_EQ(ignored[0].rfind(expected, 0), 0u) << ignored[0];
    }
  }
}

TEST(ModelConfigTest, EndTokensMayStandInTheGenerationConfigurationAlone) {
  json file = Qwen2();
  file["eos_token_id"] = nullptr;
  ASSERT_OK_AND_ASSIGN(const ModelConfig alone, ParseModelConfig(file.dump(), R"({"eos_token_id":[9,3]})"));
  EXPECT_EQ(alone.eos_token_ids, (std::vector<int64_t>{9, 3}));
  EXPECT_EQ(alone.pad_token_id, 9);
  ASSERT_OK_AND_ASSIGN(const ModelConfig both, ParseModelConfig(Qwen2().dump(), R"({"eos_token_id":[3,7]})"));
  EXPECT_EQ(both.eos_token_ids, (std::vector<int64_t>{7, 3}));
  EXPECT_EQ(both.pad_token_id, 7);
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_STATUS(ParseModelConfig(file.dump(), "{}"), kInvalid,
                "eos_token_id is missing, in generation_config.json too");
  EXPECT_STATUS(ParseModelConfig(file.dump(), R"({"eos_token_id":"0"})"), kInvalid,
                "generation_config.json: eos_token_id holds \"0\"");
  EXPECT_STATUS(ParseModelConfig(file.dump(), R"({"eos_token_id":320})"), kInvalid, "below vocab_size 320");
}

TEST(ModelConfigTest, RefusesTextThatIsNoPlainObject) {
  for (const auto& [text, message] : {std::pair{"", "not valid JSON"},
                                      {"[]", "is not a JSON object but array"},
                                      {"{\"model_type\": \"qwen2\"", "not valid JSON"},
                                      {"{\"a\":\"\xff\"}", "not valid JSON"},
                                      {R"({"a":{"b":1,"b":2}})", "has the key \"b\" twice"}}) {
    EXPECT_STATUS(ParseModelConfig(text), absl::StatusCode::kInvalidArgument, message);
  }
}

}  // namespace
}  // namespace grpo
