// Decoding on the CPU: every token is known when the call that drew it returns.
#ifndef GRPO_ROLLOUT_CPU_DECODER_H_
#define GRPO_ROLLOUT_CPU_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "model/kv_cache.h"
#include "rollout/decoder.h"

namespace grpo {

class CpuDecoder final : public Decoder {
 public:
  // As MakeDecoder.
  CpuDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots, int64_t max_tokens,
             LapTimes* times);

  bool prompts_together() const override { return prompts_together_; }
  absl::StatusOr<std::vector<DrawnToken>> Prefill(const std::vector<PromptStart>& prompts) override;
  absl::StatusOr<std::vector<DrawnToken>> Decode() override;
  void Release(int64_t slot) override;
  void SwapWeights(std::shared_ptr<const Transformer> model, int64_t number) override;
  const Transformer& model() const override { return *model_; }

 private:
  // Draws the next token of slots[i] from row rows[i] of the logits [R, V].
  absl::StatusOr<std::vector<DrawnToken>> DrawInto(const at::Tensor& logits, const std::vector<int64_t>& rows,
                                                   const std::vector<int64_t>& slots);

  std::shared_ptr<const Transformer> model_;
  // model_'s, for decode steps.
  PackedWeights packed_;
  int64_t number_;
  KvCache cache_;
  LapTimes& times_;
  // Whether prompts may share a forward pass.
  const bool prompts_together_;
  std::vector<Draw> draws_;        // [S], with the next token's index
  std::vector<int64_t> left_;      // [S], tokens that may still be drawn
  std::vector<int64_t> lengths_;   // [S], tokens of each slot in the cache; -1: idle
  std::vector<int64_t> next_ids_;  // [S], the token that the next decode step feeds; 0 for idle slots
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_CPU_DECODER_H_
