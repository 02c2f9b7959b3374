// START HERE: one optimization step.
//
//   StepBatch --Pack--> Microbatch --Forward--> policy_logprob --losses--> backward --AllReduceSum--> clip --AdamW-->
//   weights v+1
//     per minibatch       (bounded by          [M] targets      weighted     sums       over ranks
//                     micro_batch_tokens)                       sums
//
// The streams' weights hold every denominator, counted over the whole step before it is cut up; so the sum over
// micro-batches and ranks is the loss, however it was cut (DESIGN.md law 4).
#ifndef GRPO_TRAINER_LOOP_H_
#define GRPO_TRAINER_LOOP_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/transformer.h"
#include "trainer/batch/packer.h"
#include "trainer/batch/streams.h"
#include "trainer/dist/collectives.h"
#include "trainer/loss/loss.h"
#include "trainer/optim/adamw.h"

namespace grpo {

// One thread.
class Loop {
 public:
  struct Options {
    int64_t micro_batch_tokens = 16384;
    // Of the distribution whose log-probabilities the losses read.
    double temperature = 1.0;
    // 0 does not clip.
    double max_grad_norm = 1.0;
  };

  // `reference` may be null; then no loss may read ref_logprob. All pointers outlive the loop.
  Loop(const Transformer* policy, const Transformer* reference, std::vector<std::unique_ptr<Loss>> losses,
       AdamW* optimizer, Collectives* collectives, Options options);

  // Takes the batch's updates. Returns its metrics and the loop's own: loss, grad_norm (before clipping), every sum of
  // the losses, logprob_abs_diff_max (max |policy_logprob - sample_logprob| before the first update; only when
  // sampled), skipped_updates (whose loss or gradient was not finite: the weights stay).
  absl::StatusOr<std::map<std::string, double>> Step(const StepBatch& batch, double learning_rate);

 private:
  // Accumulates the gradients of one minibatch and adds its loss and sums to `totals`.
  absl::Status Accumulate(const std::vector<Microbatch>& microbatches, std::map<std::string, at::Tensor>& totals);
  absl::StatusOr<std::vector<Microbatch>> PackWithReference(const std::vector<TokenStreams>& sequences) const;
  // Norm of the gradients after the sum over ranks, scaled down to max_grad_norm.
  absl::StatusOr<double> ReduceAndClip();

  const Transformer* const policy_;
  const Transformer* const reference_;
  const std::vector<std::unique_ptr<Loss>> losses_;
  AdamW* const optimizer_;
  Collectives* const collectives_;
  const Options options_;
};

// Log-probability of each target, [M]; differentiable.
at::Tensor TargetLogprobs(const Transformer& model, const Microbatch& batch, double temperature);

}  // namespace grpo

#endif  // GRPO_TRAINER_LOOP_H_
