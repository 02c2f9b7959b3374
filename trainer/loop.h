// START HERE: one optimization step, on each rank.
//
//   rank 0's StepBatch --ShareOut--> this rank's StepBatch, and of each of its minibatches, an update:
//
//   --Pack--> Microbatch --Forward--> policy_logprob --losses--> backward --AllReduceSum--> agree, clip --AdamW--> v+1
//             (bounded by             [M] targets      weighted  sums       over ranks      or skip
//              micro_batch_tokens)                     sums
//
// The stage that calls it step after step is trainer/stage/train.cc.
//
// The streams' weights hold every denominator, counted over the whole step before it is cut up; so the sum over
// micro-batches and ranks is the loss, however it was cut (docs/design.md law 4). Whatever decides what happens to the
// weights (is the update finite, by how much is it clipped) is agreed on before it happens, and the weights are
// compared after.
//
// On a device (model/device.h) a micro-batch goes there once, by one copy, and nothing comes back until an update's
// numbers do, gradients' norm included, by one copy too: that is the update's only wait. The host runs ahead of the
// device, so the step's times are the host's, and what a device computes shows in optimizer_seconds, where it is waited
// for.
#ifndef GRPO_TRAINER_LOOP_H_
#define GRPO_TRAINER_LOOP_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lap_times.h"
#include "model/lm_head.h"
#include "model/transformer.h"
#include "proto/ranks.pb.h"
#include "trainer/batch/packer.h"
#include "trainer/batch/streams.h"
#include "trainer/dist/collectives.h"
#include "trainer/loss/loss.h"
#include "trainer/optim/adamw.h"

namespace grpo {

// What a step did.
struct StepResult {
  // The batch's metrics and the loop's own: loss, grad_norm (before clipping), every sum of the losses,
  // logprob_abs_diff_max (max |policy_logprob - sample_logprob| before the first update; only when sampled),
  // skipped_updates (whose loss or gradient was not finite on some rank: no rank took them), and where the step's time
  // went (pack_seconds to compare_seconds). Sums and norms are means over the step's updates. On ranks but 0 the
  // batch's own metrics are missing.
  std::map<std::string, double> metrics;
  // WeightsHash of the weights after the step; the same on all ranks.
  std::string weights_hash;
};

// A policy that is only read, and the stream of each micro-batch that the log-probabilities which it gives to the
// targets fill, [M]; without a stream, losses ask for its outputs by `policy`. The model outlives the loop.
struct FrozenScorer {
  const Transformer* model;
  std::string stream;
  // Key under `policies`.
  std::string policy = {};
};

// One thread.
class Loop {
 public:
  struct Options {
    // N at most, but for a sequence that is longer by itself. Bounds memory; does not change the loss.
    int64_t micro_batch_tokens = 16384;
    // Of the distribution whose log-probabilities the losses read. Above 0.
    double temperature = 1.0;
    // 0 does not clip. Of the global 2-norm, over all parameters and ranks.
    double max_grad_norm = 1.0;
    // Whether each layer is computed a second time in the backward pass, in place of keeping what is inside it.
    bool activation_checkpointing = false;
    // Of logits that are there at a time (model/lm_head.h).
    int64_t head_chunk_bytes = kDefaultHeadChunkBytes;
  };

  // Every stream that a loss reads is filled by the batch or by one of `frozen`, and every policy whose outputs it
  // reads is among them. All models, the losses' parameters and the collectives' rank are on one device. All pointers
  // outlive the loop. The optimizer's parameters are those of `policy`, which require grad, and of the losses, which
  // have begun (Loss::Begin).
  Loop(const Transformer* policy, std::vector<FrozenScorer> frozen, std::vector<std::unique_ptr<Loss>> losses,
       AdamW* optimizer, Collectives* collectives, Options options);

  // Takes the updates of a batch of which this is the rank's part (trainer/batch/share.h); all ranks call it together.
  // InvalidArgument for sequences that do not agree, or lack a stream that a loss reads; Unavailable when another rank
  // is gone, Internal when the ranks' weights are no longer the same. An update that is not finite on some rank is
  // taken by none, and is no error. After any error nothing of the step can be said: start again from a checkpoint.
  // `done_frac` is LossInput's.
  absl::StatusOr<StepResult> Step(const StepBatch& part, double learning_rate, double done_frac = 0);

 private:
  // What losses ask of a model.
  struct Read {
    const Transformer* model;
    // Layers, counted from 1.
    std::set<int64_t> layers;
  };

  // What the model makes of the micro-batch's targets; differentiable. Where gradients are off, nothing is kept for
  // them.
  TargetOutputs Outputs(const Transformer& model, const Microbatch& batch, const std::set<int64_t>& layers) const;
  // Those that the losses read, of every policy that they name; `policy` is the trained one's.
  std::map<std::string, TargetOutputs> OutputsOfAll(const Microbatch& batch, TargetOutputs policy) const;
  // Log-probability of each target, [M], from its hidden state [M, D]; differentiable. Natural logarithm, float32.
  at::Tensor Logprobs(const Transformer& model, const Microbatch& batch, const at::Tensor& predictors) const;
  // The micro-batches of one minibatch, with the frozen policies' streams.
  absl::StatusOr<std::vector<Microbatch>> PackAndScore(const std::vector<TokenStreams>& sequences) const;
  // Computes gradients of one minibatch, sums them over the ranks and moves the weights, unless what all ranks found
  // together, which is returned, is not finite.
  absl::StatusOr<v1::UpdateReport> Update(const std::vector<Microbatch>& microbatches, double learning_rate,
                                          double done_frac);
  // Accumulates the gradients of one minibatch and returns its loss and sums, scalars each, where the policy lies. A
  // rank without targets returns none, and its gradients stay zero.
  absl::StatusOr<std::map<std::string, at::Tensor>> Accumulate(const std::vector<Microbatch>& microbatches,
                                                               double done_frac);
  // InternalError where the ranks' parameters, the losses' own among them, are no longer the same. `weights_hash` is
  // that of the policy's.
  absl::Status ExpectSameOnAllRanks(const std::string& weights_hash);
  // Sums the gradients over the ranks; their norm, a scalar where they lie. In place.
  absl::StatusOr<at::Tensor> ReduceGradients(const std::vector<at::Tensor>& gradients);

  const Transformer* const policy_;
  const std::vector<FrozenScorer> frozen_;
  const std::vector<std::unique_ptr<Loss>> losses_;
  AdamW* const optimizer_;
  Collectives* const collectives_;
  const Options options_;
  // By Loss::outputs; the trained policy's under the empty name.
  std::map<std::string, Read> reads_;
  // Of the running step; its phases are the metrics of where update_seconds goes.
  LapTimes times_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_LOOP_H_
