// What the tests of the engine sample, here and on devices (tests/device).
#ifndef GRPO_ROLLOUT_ENGINE_TESTING_H_
#define GRPO_ROLLOUT_ENGINE_TESTING_H_

#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "rollout/engine.h"

namespace grpo {

inline constexpr int64_t kVocab = 40, kEos = 1, kMaxTokens = 64;
// Of log-probabilities down to -8, whose last bit is 5e-7; a product of another shape may round a few of them otherwise.
inline constexpr double kRounding = 1e-5;

inline ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = kVocab;
  config.hidden_size = 32;
  config.intermediate_size = 64;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = kMaxTokens;
  config.eos_token_ids = {kEos};
  return config;
}

inline std::shared_ptr<Transformer> TinyModel(uint64_t seed = 1, const Placement& placement = {}) {
  std::shared_ptr<Transformer> model = *Transformer::Create(TinyConfig(), placement);
  model->InitializeRandom(seed);
  // Random weights make a flat distribution; sharpen it, so that a wrong position or a wrong key shows in the ids.
  const c10::InferenceMode guard(false);
  for (auto& [name, tensor] : model->HuggingFaceTensors()) {
    if (name == "model.embed_tokens.weight") tensor.mul_(3);
  }
  return model;
}

inline v1::SamplingParams Sampling(int32_t num_completions, int32_t max_new_tokens, double temperature = 1) {
  v1::SamplingParams sampling;
  sampling.set_num_completions(num_completions);
  sampling.set_max_new_tokens(max_new_tokens);
  sampling.set_temperature(temperature);
  return sampling;
}

inline GenerateRequest Request(int64_t id, std::vector<uint32_t> prompt, int32_t num_completions,
                               int32_t max_new_tokens, double temperature = 1) {
  return {.id = id,
          .prompt_ids = std::move(prompt),
          .seed = GroupSeed(42, "test", id),
          .sampling = Sampling(num_completions, max_new_tokens, temperature)};
}

// Prompts of different lengths, groups of different sizes.
inline std::vector<GenerateRequest> Requests() {
  std::vector<GenerateRequest> requests;
  Rng rng(5);
  for (int64_t id = 0; id < 7; ++id) {
    std::vector<uint32_t> prompt;
    for (int64_t t = rng.Below(20) + 1; t > 0; --t) prompt.push_back(rng.Below(kVocab));
    requests.push_back(Request(id, prompt, /*num_completions=*/1 + rng.Below(6), /*max_new_tokens=*/5 + rng.Below(20)));
  }
  return requests;
}

// Adds all requests and steps until everything is whole.
inline std::map<int64_t, GenerateResult> RunAll(Engine& engine, const std::vector<GenerateRequest>& requests) {
  for (const GenerateRequest& request : requests) EXPECT_OK(engine.Add(request));
  std::map<int64_t, GenerateResult> results;
  while (!engine.idle()) {
    absl::StatusOr<std::vector<GenerateResult>> whole = engine.Step();
    EXPECT_OK(whole);
    if (!whole.ok()) break;
    for (GenerateResult& result : *whole) results[result.id] = std::move(result);
  }
  return results;
}

inline std::vector<uint32_t> Ids(const v1::Completion& completion) {
  return {completion.ids().begin(), completion.ids().end()};
}

// Same ids; returns the largest difference of log-probabilities.
inline double CompareResults(const std::map<int64_t, GenerateResult>& got,
                             const std::map<int64_t, GenerateResult>& want) {
  double difference = 0;
  EXPECT_EQ(got.size(), want.size());
  for (const auto& [id, result] : want) {
    const GenerateResult& other = got.at(id);
    EXPECT_EQ(other.completions.size(), result.completions.size());
    for (size_t i = 0; i < result.completions.size(); ++i) {
      const v1::Completion &a = other.completions[i], &b = result.completions[i];
      EXPECT_EQ(Ids(a), Ids(b)) << "group " << id << " completion " << i;
      for (int t = 0; t < std::min(a.ids_size(), b.ids_size()); ++t) {
        difference = std::max<double>(difference, std::abs(a.sample_logprob(t) - b.sample_logprob(t)));
      }
    }
  }
  return difference;
}

// Forty tokens of two characters each, "aa" to "dj", so that stop strings lie across tokens.
inline std::unique_ptr<Tokenizer> PairTokenizer() {
  std::string vocab;
  for (int64_t id = 0; id < kVocab; ++id) {
    const std::string text = {static_cast<char>('a' + id / 10), static_cast<char>('a' + id % 10)};
    absl::StrAppend(&vocab, id == 0 ? "" : ",", "\"", text, "\":", id);
  }
  auto tokenizer = Tokenizer::FromJson(
      absl::StrCat(R"({"decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{)", vocab, R"(},"merges":[]}})"));
  EXPECT_OK(tokenizer);
  return *std::move(tokenizer);
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENGINE_TESTING_H_
