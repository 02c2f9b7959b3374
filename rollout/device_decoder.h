// Decoding on a device, which is never waited for while it has nothing else to do: a call returns the tokens of the call
// before, for a step needs only what lies on the device. The host learns a step late that a completion has ended; the
// token that was drawn beyond its end is forgotten.
//
//   host     step k: numbers of the draws --> launch --> begin the copy of k's tokens --> wait for that of k - 1
//   device   step k-1's tokens --> forward pass --> draws --> step k's tokens
//
// One copy to the device and one back a step; a prompt adds two to it.
#ifndef GRPO_ROLLOUT_DEVICE_DECODER_H_
#define GRPO_ROLLOUT_DEVICE_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/device.h"
#include "model/device_kv_cache.h"
#include "rollout/decode_graph.h"
#include "rollout/decoder.h"
#include "rollout/device_sampler.h"

namespace grpo {

class DeviceDecoder final : public Decoder {
 public:
  // As MakeDecoder.
  DeviceDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots, int64_t max_tokens,
                LapTimes* times);

  // The bits of a product's rows depend on how many there are.
  bool prompts_together() const override { return false; }
  // Returns nothing: the step that follows does.
  absl::StatusOr<std::vector<DrawnToken>> Prefill(const std::vector<PromptStart>& prompts) override;
  absl::StatusOr<std::vector<DrawnToken>> Decode() override;
  void Release(int64_t slot) override;
  // The model that it has, with new numbers in the same places, costs nothing; what a graph holds stays right. Another
  // one makes it record again.
  void SwapWeights(std::shared_ptr<const Transformer> model, int64_t number) override;
  const Transformer& model() const override { return *model_; }

 private:
  struct Slot {
    // token_index: tokens that were launched.
    Draw draw = {};
    // That may still be launched; 0 when nothing runs.
    int64_t left = 0;
    // Tokens in the cache.
    int64_t length = 0;
    // Changes with each completion in this slot.
    int64_t generation = 0;
  };
  // What a column of a round's numbers belongs to.
  struct Launched {
    int64_t slot, generation, number;
  };
  // The tokens of one step and the prompts before it, on their way to the host.
  struct Round {
    HostCopy numbers;  // [2, n] float64: ids, log-probabilities
    std::vector<Launched> launched;
  };

  void PrefillOne(const PromptStart& prompt);
  // Numbers of the next step, and that it is launched: false when no slot runs.
  bool PrepareStep(at::Tensor& numbers, int64_t& num_ranked);
  // The step itself, over what lies in numbers_ and ids_; draws into drawn_.
  void ComputeStep(int64_t num_ranked);
  at::Tensor Logits(const at::Tensor& hidden) const;  // [M, D] to [M, V]
  // A column of numbers is of slot `index`, whose next token is being drawn if it runs.
  void Launch(int64_t index);
  absl::StatusOr<std::vector<DrawnToken>> Take(Round round) const;

  std::shared_ptr<const Transformer> model_;
  int64_t number_;
  const int64_t num_slots_, vocab_size_;
  const c10::Device device_;
  DeviceKvCache cache_;
  const DeviceSampler sampler_;
  // The head's weights in the type that it computes in, where that is not what the model keeps.
  at::Tensor head_;  // [V, D]
  LapTimes& times_;
  std::vector<Slot> slots_;  // [S]

  // On the device, always at the same addresses.
  at::Tensor positions_;  // [capacity] int64: 0, 1, 2, ...
  at::Tensor ids_;        // [S] int64: what each slot feeds next; a slot that never ran feeds 0
  at::Tensor numbers_;  // [1 + DeviceSampler::kNumbers, S] float64: the fed token's position, then what it is drawn by
  at::Tensor drawn_;    // [2, S] float64: the step's ids and log-probabilities
  std::unique_ptr<DecodeGraph> graph_;

  // Of this step so far: each [2, n], and what their columns are.
  std::vector<at::Tensor> parts_;
  std::vector<Launched> launched_;
  // Of the step before.
  std::optional<Round> round_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_DEVICE_DECODER_H_
