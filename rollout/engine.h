// Continuous batching over a fixed number of slots: groups come in, their prompt is computed once, completions leave as they end, and
// the next group takes the free slots while others go on.
#ifndef GRPO_ROLLOUT_ENGINE_H_
#define GRPO_ROLLOUT_ENGINE_H_

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/kv_cache.h"
#include "model/transformer.h"
#include "proto/types.pb.h"

namespace grpo {

// What to sample for one group.
struct GenerateRequest {
  // Comes back with the result.
  int64_t id = 0;
  std::vector<uint32_t> prompt_ids;
  // Lease.seed.
  uint64_t seed = 0;
  v1::SamplingParams sampling;
};

// A whole group; text is not filled (the engine knows no tokenizer).
struct GenerateResult {
  int64_t id = 0;
  std::vector<v1::Completion> completions;
  double generate_seconds = 0;
};

// One thread.
class Engine {
 public:
  struct Options {
    int64_t num_slots = 64;
    // Prompt plus completion.
    int64_t max_tokens = 512;
  };
  // `number` is the version of the weights (Span.policy_number).
  Engine(std::shared_ptr<const Transformer> model, int64_t number, Options options);

  // InvalidArgument when prompt plus max_new_tokens exceeds max_tokens, the prompt is empty or holds an id outside the vocabulary, or
  // the sampling parameters make no sense. Otherwise the group waits for slots (a group may be larger than num_slots).
  absl::Status Add(GenerateRequest request);
  // Forgets a group; its slots are free at once. Unknown ids are ignored.
  void Cancel(int64_t id);

  // Replaces the weights between decode steps. Running completions go on with the new ones over the keys and values they have, and
  // their spans record where the version changed.
  void SwapWeights(std::shared_ptr<const Transformer> model, int64_t number);

  // Admits waiting prompts into free slots, then decodes one token for every running completion. Returns the groups that are now whole.
  absl::StatusOr<std::vector<GenerateResult>> Step();

  bool idle() const;
  int64_t num_free_slots() const;
  // Completions of admitted or waiting groups that are not finished.
  int64_t num_unfinished() const;
  int64_t num_tokens_generated() const;

  // PRIVATE PART TO BE DESIGNED BY THE IMPLEMENTER (replace this line).
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENGINE_H_
