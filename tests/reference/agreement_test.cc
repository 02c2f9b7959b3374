// Law 3 (docs/design.md): what the trainer computes for a token is what it was sampled with. A whole way, sampler to
// training pass: the engine's slots, cache, packed weights and prompts in common on one side; packed sequences that share
// their prompts on the other.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/lm_head.h"
#include "model/transformer.h"
#include "rollout/engine.h"
#include "trainer/batch/packer.h"

namespace grpo {
namespace {

constexpr int64_t kVocab = 311, kGroups = 34, kGroupSize = 6;

std::shared_ptr<Transformer> Model(const Placement& placement) {
  ModelConfig config;
  config.vocab_size = kVocab;
  config.hidden_size = 96;
  config.intermediate_size = 224;
  config.num_layers = 6;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.max_positions = 128;
  config.eos_token_ids = {0};
  std::shared_ptr<Transformer> model = *Transformer::Create(config, placement);
  return model;
}

// Groups of different prompts, lengths and numbers of tokens.
std::vector<GenerateResult> Sampled(const std::shared_ptr<const Transformer>& model, int64_t num_slots) {
  Engine engine(model, /*number=*/1, {.num_slots = num_slots, .max_tokens = 128});
  Rng rng(7);
  for (int64_t id = 0; id < kGroups; ++id) {
    GenerateRequest request = {.id = id, .prompt_ids = {}, .seed = GroupSeed(1, "agreement", id), .sampling = {}};
    for (int64_t t = 1 + rng.Below(50); t > 0; --t) request.prompt_ids.push_back(rng.Below(kVocab));
    request.sampling.set_num_completions(kGroupSize);
    request.sampling.set_max_new_tokens(1 + rng.Below(60));
    request.sampling.set_temperature(1);
    EXPECT_OK(engine.Add(request));
  }
  std::vector<GenerateResult> all;
  while (!engine.idle()) {
    absl::StatusOr<std::vector<GenerateResult>> whole = engine.Step();
    EXPECT_OK(whole);
    if (!whole.ok()) break;
    for (GenerateResult& result : *whole) all.push_back(std::move(result));
  }
  return all;
}

std::vector<TokenStreams> Streams(const std::vector<GenerateResult>& groups) {
  std::vector<TokenStreams> sequences;
  for (const GenerateResult& group : groups) {
    for (const v1::Completion& completion : group.completions) {
      TokenStreams& sequence = sequences.emplace_back();
      sequence.group = group.id;
      sequence.ids.assign(group.prompt_ids.begin(), group.prompt_ids.end());
      sequence.trainable_mask.assign(sequence.ids.size(), false);
      std::vector<float> logprobs(sequence.ids.size());
      sequence.ids.insert(sequence.ids.end(), completion.ids().begin(), completion.ids().end());
      sequence.trainable_mask.resize(sequence.ids.size(), true);
      logprobs.insert(logprobs.end(), completion.sample_logprob().begin(), completion.sample_logprob().end());
      sequence.streams[stream::kSampleLogprob] = std::move(logprobs);
    }
  }
  return sequences;
}

// The largest |policy_logprob - sample_logprob|.
double LargestDifference(at::ScalarType compute, at::ScalarType head, int64_t num_slots, int64_t micro_batch_tokens) {
  const std::shared_ptr<Transformer> trained = Model({.compute = compute, .storage = at::kFloat, .head = head});
  trained->InitializeRandom(3);
  const std::shared_ptr<Transformer> sampling = Model({.compute = compute, .storage = compute, .head = head});
  sampling->CopyWeights(*trained);
  absl::StatusOr<std::vector<Microbatch>> batches = Pack(Streams(Sampled(sampling, num_slots)), micro_batch_tokens);
  EXPECT_OK(batches);
  double largest = 0;
  for (const Microbatch& batch : *batches) {
    const at::NoGradGuard no_grad;
    PackedAttention attention(batch.layout);
    const at::Tensor hidden = trained->Forward(batch.ids, batch.positions, attention);
    const at::Tensor logprobs = TargetLogprobs(hidden.index_select(0, batch.predictor_rows), trained->head(),
                                               batch.target_ids, 1, kDefaultHeadChunkBytes, head);
    const at::Tensor sampled = batch.streams.at(stream::kSampleLogprob);
    EXPECT_LT(sampled.max().item<double>(), 0);
    largest = std::max(largest, (logprobs - sampled).abs().max().item<double>());
  }
  return largest;
}

// Everything but the last sum over the vocabulary has the same bits on both sides, whatever the dtype.
TEST(AgreementTest, TheTrainerComputesWhatWasSampled) {
  for (const auto& [compute, head] :
       {std::pair{at::kFloat, at::kFloat}, {at::kBFloat16, at::kFloat}, {at::kBFloat16, at::kBFloat16}}) {
    const bool exact = Model({.compute = compute, .head = head})->RowsAreIndependent();
    RecordProperty(at::toString(compute), exact ? "rows are independent" : "rows depend on their number");
    for (const int64_t num_slots : {16, 33}) {
      for (const int64_t micro_batch_tokens : {300, 100000}) {
        EXPECT_LE(LargestDifference(compute, head, num_slots, micro_batch_tokens), exact                   ? 2e-6
                                                                                   : compute == at::kFloat ? 1e-4
                                                                                                           : 0.3)
            << at::toString(compute) << ", head " << at::toString(head) << ", " << num_slots << " slots";
      }
    }
  }
}

}  // namespace
}  // namespace grpo
