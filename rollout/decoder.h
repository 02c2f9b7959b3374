// What computes for an Engine (rollout/engine.h): the cache of its slots, forward passes and draws. One way on the CPU,
// one on devices.
//
//   Engine --Prefill(prompts), Decode()--> Decoder --tokens, when they are known--> Engine --Release(slot)--> Decoder
#ifndef GRPO_ROLLOUT_DECODER_H_
#define GRPO_ROLLOUT_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/lap_times.h"
#include "model/transformer.h"
#include "rollout/sampler.h"

namespace grpo {

// A completion that begins in a slot.
struct SlotStart {
  int64_t slot = 0;
  // By which each of its tokens is drawn; row and token_index play no part.
  Draw draw = {};
  // At least 1; no token after these is drawn.
  int64_t max_new_tokens = 1;
};

// A prompt and the slots of its completions.
struct PromptStart {
  // [P], P >= 1; read during the call only.
  absl::Span<const uint32_t> ids;
  // At least one; slots in which nothing runs.
  std::vector<SlotStart> slots;
};

// The next token of the completion in a slot.
struct DrawnToken {
  int64_t slot = 0;
  // Version of the weights that it was drawn with.
  int64_t number = 0;
  SampledToken token = {};
};

// One thread, without autograd. After an error: use a new one. What torch throws passes through.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // Whether several prompts in one Prefill give what each gives in one of its own.
  virtual bool prompts_together() const = 0;
  // Computes the prompts into their slots, draws the first token of each completion, and returns what tokens are known
  // by now, in the order in which they were drawn. InvalidArgument when a logit was not finite.
  virtual absl::StatusOr<std::vector<DrawnToken>> Prefill(const std::vector<PromptStart>& prompts) = 0;
  // Draws one more token for each slot that was started, was not released and has not drawn all that it may, and
  // returns what is known by now, as above. Where there is nothing to draw, called again and again, it returns in the end
  // all that was drawn. An answer may hold several tokens of a slot: whoever releases it for one of them passes the
  // later ones by.
  virtual absl::StatusOr<std::vector<DrawnToken>> Decode() = 0;
  // The slot's completion has ended, or nobody wants it. No later call returns a token of it.
  virtual void Release(int64_t slot) = 0;
  // As Engine::SwapWeights.
  virtual void SwapWeights(std::shared_ptr<const Transformer> model, int64_t number) = 0;

  virtual const Transformer& model() const = 0;
};

// For S slots of max_tokens each on the model's device, empty. Phases go to `times`: "prefill", "decode", "head"; what
// is left is the draws. `times` outlives it.
std::unique_ptr<Decoder> MakeDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots,
                                     int64_t max_tokens, LapTimes* times);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_DECODER_H_
