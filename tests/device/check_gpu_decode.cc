#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/config.h"
#include "model/device.h"
#include "model/sequence_logprobs.h"
#include "model/tensor.h"
#include "model/transformer.h"
#include "rollout/engine.h"
#include "tests/device/check_gpu.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kSlots = 32, kContext = 256;
constexpr int32_t kGroup = 4, kNewTokens = 48;
constexpr double kNotFinite = 1e9;

// Two query heads for each of keys and values, as most families have them, and heads that every attention kernel takes.
ModelConfig SmallConfig() {
  ModelConfig config;
  config.family = "qwen2";
  config.vocab_size = 1009;
  config.hidden_size = 256;
  config.intermediate_size = 640;
  config.num_layers = 4;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 64;
  config.max_positions = kContext;
  config.attention_bias = true;
  config.tie_word_embeddings = true;
  config.eos_token_ids = {1008};
  return config;
}

// As a worker holds a policy. Random weights are made in float32.
absl::StatusOr<std::shared_ptr<const Transformer>> MakeModel(c10::Device device, at::ScalarType compute,
                                                             uint64_t seed) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transformer> model,
                   Transformer::Create(SmallConfig(), {.device = device, .compute = compute}));
  model->InitializeRandom(seed);
  if (compute == at::kFloat) return std::shared_ptr<const Transformer>(std::move(model));
  ASSIGN_OR_RETURN(std::unique_ptr<Transformer> kept,
                   Transformer::Create(SmallConfig(), {.device = device, .compute = compute, .storage = compute}));
  kept->CopyWeights(*model);
  return std::shared_ptr<const Transformer>(std::move(kept));
}

// Group number `id`: a prompt of a length of its own.
GenerateRequest Request(int64_t id) {
  GenerateRequest request{
      .id = id, .prompt_ids = {}, .seed = GroupSeed(/*run_seed=*/1, "check_gpu", id), .sampling = {}};
  Rng rng(CombineSeeds(7, static_cast<uint64_t>(id)));
  const int64_t prompt_tokens = 5 + 13 * id;
  for (int64_t t = 0; t < prompt_tokens; ++t) {
    request.prompt_ids.push_back(static_cast<uint32_t>(rng.Below(SmallConfig().vocab_size - 1)));
  }
  request.sampling.set_num_completions(kGroup);
  request.sampling.set_max_new_tokens(kNewTokens);
  request.sampling.set_temperature(1);
  return request;
}

// By id.
using Results = std::map<int64_t, GenerateResult>;

absl::StatusOr<Results> Sample(Engine& engine, const std::vector<int64_t>& ids) {
  for (const int64_t id : ids) RETURN_IF_ERROR(engine.Add(Request(id)));
  Results results;
  while (!engine.idle()) {
    ASSIGN_OR_RETURN(std::vector<GenerateResult> whole, engine.Step());
    for (GenerateResult& result : whole) results[result.id] = std::move(result);
  }
  return results;
}

absl::StatusOr<Results> SampleAfresh(const std::shared_ptr<const Transformer>& model, const std::vector<int64_t>& ids) {
  Engine engine(model, /*number=*/1, {.num_slots = kSlots, .max_tokens = kContext});
  return Sample(engine, ids);
}

// The full forward pass over prompt and completion, against what the engine said while it sampled.
Json AgainstForward(const Transformer& model, const Results& results) {
  const at::NoGradGuard no_grad;
  double largest = 0, sum = 0;
  int64_t tokens = 0;
  for (const auto& [id, result] : results) {
    for (const v1::Completion& completion : result.completions) {
      std::vector<int64_t> ids(result.prompt_ids.begin(), result.prompt_ids.end());
      ids.insert(ids.end(), completion.ids().begin(), completion.ids().end());
      const at::Tensor logprobs = SequenceLogprobs(model, ids).cpu();  // [T - 1]
      const float* const of_completion = logprobs.const_data_ptr<float>() + result.prompt_ids.size() - 1;
      for (int i = 0; i < completion.ids_size(); ++i) {
        const double difference = std::abs(of_completion[i] - completion.sample_logprob(i));
        // JSON has no NaN.
        largest = std::max(largest, std::isfinite(difference) ? difference : kNotFinite);
        sum += std::isfinite(difference) ? difference : kNotFinite;
        ++tokens;
      }
    }
  }
  return {{"tokens", tokens},
          {"diff_max", largest},
          {"diff_mean", sum / static_cast<double>(std::max<int64_t>(tokens, 1))}};
}

// The same group, sampled twice. Where the ids part, what follows are tokens of other texts: they count as other ids.
Json Compare(const GenerateResult& expected, const GenerateResult& actual) {
  int64_t tokens = 0, other_ids = 0, other_bits = 0;
  double largest = 0;
  for (size_t c = 0; c < expected.completions.size(); ++c) {
    const v1::Completion &one = expected.completions[c], &other = actual.completions[c];
    const int length = std::max(one.ids_size(), other.ids_size());
    bool same_text = true;
    for (int i = 0; i < length; ++i, ++tokens) {
      same_text = same_text && i < one.ids_size() && i < other.ids_size() && one.ids(i) == other.ids(i);
      if (!same_text) {
        ++other_ids;
        continue;
      }
      const float a = one.sample_logprob(i), b = other.sample_logprob(i);
      if (std::memcmp(&a, &b, sizeof(a)) == 0) continue;
      ++other_bits;
      largest = std::max<double>(largest, std::abs(a - b));
    }
  }
  return {{"tokens", tokens}, {"other_ids", other_ids}, {"other_bits", other_bits}, {"diff_max", largest}};
}

absl::StatusOr<Json> CompareAll(c10::Device device, at::ScalarType compute) {
  ASSIGN_OR_RETURN(const auto model, MakeModel(device, compute, /*seed=*/1));
  ASSIGN_OR_RETURN(const auto other, MakeModel(device, compute, /*seed=*/2));
  // What libraries keep for themselves after their first use is no engine's.
  ASSIGN_OR_RETURN(const Results alone, SampleAfresh(model, {3}));
  const int64_t allocated = MemoryOf(device).allocated_bytes;
  ASSIGN_OR_RETURN(const Results together, SampleAfresh(model, {3, 0, 1, 2, 4}));
  const int64_t left = MemoryOf(device).allocated_bytes - allocated;
  ASSIGN_OR_RETURN(const Results reordered, SampleAfresh(model, {4, 2, 0, 3, 1}));
  Engine engine(other, /*number=*/1, {.num_slots = kSlots, .max_tokens = kContext});
  RETURN_IF_ERROR(Sample(engine, {0, 1}).status());
  engine.SwapWeights(model, /*number=*/2);
  ASSIGN_OR_RETURN(const Results swapped, Sample(engine, {3}));
  return Json{
      {"dtype", compute == at::kFloat ? "float32" : "bfloat16"}, {"forward", AgainstForward(*model, together)},
      {"neighbours", Compare(alone.at(3), together.at(3))},      {"order", Compare(together.at(3), reordered.at(3))},
      {"swapped", Compare(alone.at(3), swapped.at(3))},          {"left_bytes", left}};
}

}  // namespace

absl::StatusOr<Json> CompareDecoding(c10::Device device, at::ScalarType compute) {
  return TorchGuard([&] { return CompareAll(device, compute); });
}

}  // namespace grpo
