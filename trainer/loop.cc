#include "trainer/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tensor.h"
#include "trainer/dist/agreement.h"
#include "trainer/fingerprint.h"
#include "trainer/records/metrics.h"

namespace grpo {
Loop::Loop(const Transformer* policy, std::vector<FrozenScorer> frozen, std::vector<std::unique_ptr<Loss>> losses,
           AdamW* optimizer, Collectives* collectives, Options options)
    : policy_(policy),
      frozen_(std::move(frozen)),
      losses_(std::move(losses)),
      optimizer_(optimizer),
      collectives_(collectives),
      options_(options) {}

absl::StatusOr<StepResult> Loop::Step(const StepBatch& part, double learning_rate) {
  StepResult result{.metrics = part.metrics, .weights_hash = {}};
  result.metrics[metric::kLearningRate] = learning_rate;
  times_.Clear();
  times_.Start();
  collectives_->SetPhase("pack");
  std::vector<std::vector<Microbatch>> minibatches;
  for (const auto& sequences : part.minibatches) {
    ASSIGN_OR_RETURN(minibatches.emplace_back(), PackAndScore(sequences));
  }
  times_.Lap(metric::kPackSeconds);
  // Over the updates; their means are reported.
  std::map<std::string, double> sums;
  double num_updates = 0, num_skipped = 0;
  for (int64_t iteration = 0; iteration < part.iterations; ++iteration) {
    for (const std::vector<Microbatch>& microbatches : minibatches) {
      ASSIGN_OR_RETURN(const v1::UpdateReport report, Update(microbatches, learning_rate));
      sums[metric::kGradNorm] += report.grad_norm();
      for (const auto& [name, sum] : report.sums()) sums[name] += sum;
      // Later updates move the policy away from the sampler by design.
      if (num_updates == 0 && report.has_logprob_abs_diff_max())
        result.metrics[metric::kLogprobAbsDiffMax] = report.logprob_abs_diff_max();
      ++num_updates;
      num_skipped += !IsFinite(report);
    }
  }
  for (const auto& [name, sum] : sums) result.metrics[name] = sum / num_updates;
  result.metrics[metric::kSkippedUpdates] = num_skipped;
  collectives_->SetPhase("compare");
  result.weights_hash = WeightsHash(policy_->NamedParameters());
  RETURN_IF_ERROR(ExpectSameWeights(*collectives_, result.weights_hash));
  times_.Lap(metric::kCompareSeconds);
  for (const auto& [name, seconds] : times_.seconds()) result.metrics[name] = seconds;
  return result;
}

absl::StatusOr<v1::UpdateReport> Loop::Update(const std::vector<Microbatch>& microbatches, double learning_rate) {
  optimizer_->ZeroGrad();
  times_.Lap(metric::kOptimizerSeconds);
  v1::UpdateReport mine;
  ASSIGN_OR_RETURN(const auto totals, Accumulate(microbatches));
  for (const auto& [name, total] : totals) {
    const double value = total.item<double>();
    if (name == metric::kLogprobAbsDiffMax) {
      mine.set_logprob_abs_diff_max(value);
    } else {
      (*mine.mutable_sums())[name] = value;
    }
  }
  std::vector<at::Tensor> gradients = optimizer_->Gradients();
  ASSIGN_OR_RETURN(const double norm, ReduceGradients(gradients));
  mine.set_grad_norm(norm);
  collectives_->SetPhase("agree");
  ASSIGN_OR_RETURN(v1::UpdateReport all, Agree(*collectives_, mine));
  times_.Lap(metric::kReduceSeconds);
  if (!IsFinite(all)) return all;
  collectives_->SetPhase("optimizer");
  RETURN_IF_ERROR(TorchGuard([&] {
    if (options_.max_grad_norm > 0 && all.grad_norm() > options_.max_grad_norm)
      at::_foreach_mul_(gradients, options_.max_grad_norm / all.grad_norm());
    optimizer_->Step(learning_rate);
    return absl::OkStatus();
  }));
  times_.Lap(metric::kOptimizerSeconds);
  return all;
}

absl::StatusOr<std::vector<Microbatch>> Loop::PackAndScore(const std::vector<TokenStreams>& sequences) const {
  ASSIGN_OR_RETURN(std::vector<Microbatch> microbatches, Pack(sequences, options_.micro_batch_tokens));
  RETURN_IF_ERROR(TorchGuard([&] {
    const at::NoGradGuard no_grad;
    for (Microbatch& microbatch : microbatches) {
      for (const auto& [model, stream] : frozen_)
        microbatch.streams[stream] = Logprobs(*model, microbatch, Predictors(*model, microbatch));
    }
    return absl::OkStatus();
  }));
  for (const Microbatch& microbatch : microbatches) RETURN_IF_ERROR(ExpectStreams(losses_, microbatch.streams));
  return microbatches;
}

absl::StatusOr<std::map<std::string, at::Tensor>> Loop::Accumulate(const std::vector<Microbatch>& microbatches) {
  return TorchGuard([&]() -> absl::StatusOr<std::map<std::string, at::Tensor>> {
    std::map<std::string, at::Tensor> totals;
    const auto add = [&totals](const std::string& name, const at::Tensor& value) {
      at::Tensor& total = totals[name];
      total = total.defined() ? total + value : value;
    };
    for (size_t i = 0; i < microbatches.size(); ++i) {
      const Microbatch& microbatch = microbatches[i];
      collectives_->SetPhase(absl::StrCat("forward_backward ", i + 1, "/", microbatches.size()));
      const at::Tensor predictors = Predictors(*policy_, microbatch);  // [M, D]
      times_.Lap(metric::kForwardSeconds);
      const at::Tensor policy_logprob = Logprobs(*policy_, microbatch, predictors);  // [M]
      const LossInput input = {policy_logprob, microbatch.streams, microbatch.sequence_of_target,
                               microbatch.group_of_target};
      at::Tensor microbatch_loss;
      for (const auto& loss : losses_) {
        LossOutput output = loss->Compute(input);
        microbatch_loss = microbatch_loss.defined() ? microbatch_loss + output.loss : output.loss;
        for (const auto& [name, sum] : output.sums) add(name, sum);
      }
      times_.Lap(metric::kHeadSeconds);
      // Autograd works from the loss back: when it knows this gradient, the layers are what is left.
      predictors.register_hook([this](const at::Tensor&) { times_.Lap(metric::kHeadBackwardSeconds); });
      microbatch_loss.backward();
      times_.Lap(metric::kBackwardSeconds);
      add(metric::kLoss, microbatch_loss.detach());
      if (const auto sampled = microbatch.streams.find(stream::kSampleLogprob); sampled != microbatch.streams.end()) {
        const at::Tensor largest = (policy_logprob.detach() - sampled->second).abs().max();
        at::Tensor& total = totals[metric::kLogprobAbsDiffMax];
        total = total.defined() ? at::stack({total, largest}).max() : largest;
      }
    }
    return totals;
  });
}

absl::StatusOr<double> Loop::ReduceGradients(const std::vector<at::Tensor>& gradients) {
  collectives_->SetPhase("all_reduce");
  times_.Lap(metric::kBackwardSeconds);
  RETURN_IF_ERROR(collectives_->AllReduceSum(gradients));
  times_.Lap(metric::kReduceSeconds);
  return TorchGuard([&]() -> absl::StatusOr<double> {
    const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))).item<double>();
    times_.Lap(metric::kOptimizerSeconds);
    return norm;
  });
}

at::Tensor Loop::Predictors(const Transformer& model, const Microbatch& batch) const {
  const auto attention = std::make_shared<PackedAttention>(batch.layout);
  const at::Tensor hidden = options_.activation_checkpointing && at::GradMode::is_enabled()
                                ? model.CheckpointedForward(batch.ids, batch.positions, attention)
                                : model.Forward(batch.ids, batch.positions, *attention);  // [N, D]
  return hidden.index_select(0, batch.predictor_rows);
}

at::Tensor Loop::Logprobs(const Transformer& model, const Microbatch& batch, const at::Tensor& predictors) const {
  return TargetLogprobs(predictors, model.head(), batch.target_ids, options_.temperature, options_.head_chunk_bytes,
                        model.placement().head);
}

}  // namespace grpo
