// Continuous batching over a fixed number of slots: groups come in, their prompt is computed once, completions leave as
// they end, and the next group takes the free slots while others go on.
//
//   Add --> waiting groups --first come, first served, by the free slots--> prefill --> slots
//                                                                                        |
//                              Step returns whole groups <--------decode step------------+
//
// What a completion holds does not depend on its neighbours (docs/design.md law 5): a prompt is computed in a forward pass
// of its own, since what it is packed with would change its bits; a decode step always computes every slot; token t
// draws UniformAt(SampleSeed(seed, i), t).
#ifndef GRPO_ROLLOUT_ENGINE_H_
#define GRPO_ROLLOUT_ENGINE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "model/kv_cache.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "proto/types.pb.h"
#include "rollout/sampler.h"
#include "rollout/stop_strings.h"

namespace grpo {

// What to sample for one group.
struct GenerateRequest {
  // Comes back with the result.
  int64_t id = 0;
  std::vector<uint32_t> prompt_ids;
  // Lease.seed.
  uint64_t seed = 0;
  v1::SamplingParams sampling;
  // Reads the text for sampling.stop, and may be absent without it. Must outlive the group.
  const Tokenizer* tokenizer = nullptr;
};

// A whole group; text is not filled.
struct GenerateResult {
  int64_t id = 0;
  // GenerateRequest's.
  std::vector<uint32_t> prompt_ids;
  std::vector<v1::Completion> completions;
  // From the first forward pass of its prompt to its last token.
  double generate_seconds = 0;
};

// One thread. Computes without autograd, on torch's intra-op threads.
class Engine {
 public:
  struct Options {
    int64_t num_slots = 64;
    // Prompt plus completion.
    int64_t max_tokens = 512;
  };
  // `number` is the version of the weights (Span.policy_number).
  Engine(std::shared_ptr<const Transformer> model, int64_t number, Options options, const Clock& clock = Clock::Real());

  // InvalidArgument when prompt plus max_new_tokens exceeds max_tokens, the prompt is empty or holds an id outside the
  // vocabulary, or the sampling parameters make no sense. Otherwise the group waits for slots (a group may be larger
  // than num_slots; its prompt is then computed again for each part).
  absl::Status Add(GenerateRequest request);
  // Forgets a group; its slots are free at once. Unknown ids are ignored.
  void Cancel(int64_t id);

  // Replaces the weights between decode steps; the architecture must be the same. Running completions go on with the
  // new ones over the keys and values they have, and their spans record where the version changed.
  void SwapWeights(std::shared_ptr<const Transformer> model, int64_t number);

  // Admits waiting prompts into free slots, then decodes one token for every running completion. Returns the groups
  // that are now whole. InvalidArgument when a logit is not finite: the weights are at fault. After any error the
  // groups are lost; use a new engine.
  absl::StatusOr<std::vector<GenerateResult>> Step();

  bool idle() const { return groups_.empty(); }
  int64_t num_free_slots() const;
  // Completions of admitted or waiting groups that are not finished.
  int64_t num_unfinished() const;
  int64_t num_tokens_generated() const { return num_tokens_generated_; }

 private:
  // A group that is not whole yet.
  struct Group {
    GenerateRequest request;
    std::vector<v1::Completion> completions;
    std::vector<StopWatch> watches;  // of each completion, where there are stop strings
    // Completions 0 .. num_admitted-1 have or had a slot; num_finished of them ended.
    int32_t num_admitted = 0, num_finished = 0;
    // When the first was admitted.
    absl::Duration started;
  };
  // What runs in a slot: one completion, or nothing.
  struct Slot {
    Group* group = nullptr;
    int32_t index = 0;
  };

  absl::Status Admit();
  // Computes the group's prompt into `slots`, and starts one completion in each with its first token.
  absl::Status Prefill(Group& group, const std::vector<int64_t>& slots);
  absl::Status DecodeStep();
  // Draws the next token of the completion in slots[i] from row rows[i] of the logits [R, V]; completions that end
  // leave their slots.
  absl::Status SampleInto(const at::Tensor& logits, const std::vector<int64_t>& rows,
                          const std::vector<int64_t>& slots);
  // True when completion `index` of the group ended.
  bool Append(Group& group, int32_t index, const SampledToken& token) const;
  void Release(int64_t slot);
  std::vector<GenerateResult> TakeWhole();

  std::shared_ptr<const Transformer> model_;
  int64_t number_;
  const Options options_;
  const Clock& clock_;
  KvCache cache_;
  // In the order of Add; pointers to them stay valid.
  std::deque<std::unique_ptr<Group>> groups_;
  std::vector<Slot> slots_;        // [S]
  std::vector<int64_t> lengths_;   // [S], tokens of each slot in the cache; -1: idle
  std::vector<int64_t> next_ids_;  // [S], the token that the next decode step feeds; 0 for idle slots
  int64_t num_tokens_generated_ = 0;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENGINE_H_
