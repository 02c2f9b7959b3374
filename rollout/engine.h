// Continuous batching over a fixed number of slots: groups come in, their prompt is computed once, completions leave as
// they end, and the next group takes the free slots while others go on.
//
//   Add --> waiting groups --first come, first served, by the free slots--> prefill --> slots
//                                                                                        |
//                              Step returns whole groups <--------decode step------------+
//
// What a completion holds does not depend on its neighbours (docs/design.md law 5): where the bits of a product's rows
// depend on how many there are (model/matmul.h), a prompt is computed in a forward pass of its own; a decode step always
// computes every slot; token t draws UniformAt(SampleSeed(seed, i), t).
//
// It computes where the model lies (rollout/decoder.h). On a device the host runs a step behind: Step launches the next
// tokens, then waits for those of the step before, so that the device has work all the time.
#ifndef GRPO_ROLLOUT_ENGINE_H_
#define GRPO_ROLLOUT_ENGINE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/lap_times.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "proto/types.pb.h"
#include "rollout/decoder.h"
#include "rollout/stop_strings.h"

namespace grpo {

// What to sample for one group. Engine::Add says what of it is refused.
struct GenerateRequest {
  // Comes back with the result.
  int64_t id = 0;
  // [P], each below V.
  std::vector<uint32_t> prompt_ids;
  // Lease.seed.
  uint64_t seed = 0;
  // num_completions G, max_new_tokens, temperature (0: greedy), top_p (0 counts as 1), top_k, min_p, stop.
  v1::SamplingParams sampling;
  // Reads the text for sampling.stop, and may be absent without it. Must outlive the group.
  const Tokenizer* tokenizer = nullptr;
};

// A whole group; text is not filled. Whole means that each of its completions ended: by an end token of the
// configuration, a stop string, or max_new_tokens.
struct GenerateResult {
  int64_t id = 0;
  // GenerateRequest's.
  std::vector<uint32_t> prompt_ids;
  // [G], completion i at position i: index, ids (the token that ended it included), sample_logprob, logprob_kind, spans
  // and finish reason.
  std::vector<v1::Completion> completions;
  // From the first forward pass of its prompt to its last token.
  double generate_seconds = 0;
};

// One thread. Computes without autograd, on torch's intra-op threads.
class Engine {
 public:
  struct Options {
    // S, at least 1. Another number may change the last bits of what is sampled.
    int64_t num_slots = 64;
    // Prompt plus completion. At most the policy's max_positions.
    int64_t max_tokens = 512;
    // Completions go on to max_new_tokens or a stop string, whatever end token they draw: for measurements of fixed
    // work.
    bool ignore_end_tokens = false;
  };
  // `number` is the version of the weights (Span.policy_number). Allocates the cache at once; torch's exception when
  // memory is short passes through (TorchGuard). `clock` outlives the engine.
  Engine(std::shared_ptr<const Transformer> model, int64_t number, Options options, const Clock& clock = Clock::Real());

  // InvalidArgument when prompt plus max_new_tokens exceeds max_tokens, the prompt is empty or holds an id outside the
  // vocabulary, or the sampling parameters make no sense. Otherwise the group waits for slots (a group may be larger
  // than num_slots; its prompt is then computed again for each part). After an error nothing has changed.
  absl::Status Add(GenerateRequest request);
  // Forgets a group; its slots are free at once. Unknown ids are ignored.
  void Cancel(int64_t id);

  // Replaces the weights between decode steps; architecture and device must be the same. Also for a model whose weights
  // were changed in place: the engine may keep a copy of its own (PackedWeights), and on a device the same places spare
  // it a new recording of its graph. Running completions go on with the new ones over the keys and values they have, and
  // their spans record where the version changed. Waiting groups are sampled with them from the start.
  void SwapWeights(std::shared_ptr<const Transformer> model, int64_t number);

  // Admits waiting prompts into free slots, then decodes one token for every running completion. Returns the groups
  // that are now whole. InvalidArgument when a logit is not finite: the weights are at fault. After any error the
  // groups are lost; use a new engine. Internal for what torch throws. Without groups it does nothing. One step costs a
  // forward pass of S tokens and one of each prompt that it admits.
  absl::StatusOr<std::vector<GenerateResult>> Step();

  // No group waits or runs.
  bool idle() const { return groups_.empty(); }
  // Slots without a completion.
  int64_t num_free_slots() const;
  // Completions of admitted or waiting groups that are not finished.
  int64_t num_unfinished() const;
  // Since construction, cancelled groups included.
  int64_t num_tokens_generated() const { return num_tokens_generated_; }
  // Where the time of all steps went, in seconds: "prefill" (the layers over prompts, copies of the cache), "decode"
  // (the layers over slots), "head" and "sample" of both. On a device these are the host's: launches, of a recorded step
  // all in "decode", and in "sample" the wait for the step before.
  const std::map<std::string, double>& seconds() const { return times_.seconds(); }

 private:
  // A group that is not whole yet.
  struct Group {
    // Its sampling parameters passed Engine::Add's checks.
    GenerateRequest request;
    // By index; those without a slot yet have no ids.
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
    // Of the completion in its group.
    int32_t index = 0;
  };

  // Slots that a group is given.
  struct Admission {
    Group* group;
    std::vector<int64_t> slots;
  };

  // Gives free slots to waiting groups, in order, and prefills them.
  absl::Status Admit();
  // Computes the groups' prompts in one pass, each into its slots, and starts one completion in each slot with its first
  // token.
  absl::Status Prefill(const std::vector<Admission>& admissions);
  // Takes what the decoder knows; completions that end leave their slots.
  absl::Status Take(const absl::StatusOr<std::vector<DrawnToken>>& drawn);
  // True when completion `index` of the group ended.
  bool Append(Group& group, int32_t index, const DrawnToken& drawn) const;
  // The slot is idle; its keys and values stay until others take their place.
  void Release(int64_t slot);
  // Takes the groups whose completions have all ended, in the order of Add.
  std::vector<GenerateResult> TakeWhole();

  // Version of the weights, for messages.
  int64_t number_;
  const Options options_;
  const Clock& clock_;
  LapTimes times_;
  const std::unique_ptr<Decoder> decoder_;
  // In the order of Add; pointers to them stay valid.
  std::deque<std::unique_ptr<Group>> groups_;
  std::vector<Slot> slots_;  // [S]
  int64_t num_tokens_generated_ = 0;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENGINE_H_
