#include "trainer/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/device.h"
#include "model/tensor.h"
#include "model/tf32.h"
#include "trainer/batch/on_device.h"
#include "trainer/dist/agreement.h"
#include "trainer/fingerprint.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

// Scalars on one device, at least one, in the order of their names. Those of the CPU are there already; others come to
// the host all at once.
std::vector<double> Numbers(const std::map<std::string, at::Tensor>& scalars) {
  std::vector<double> numbers;
  if (scalars.begin()->second.is_cpu()) {
    for (const auto& [name, scalar] : scalars) numbers.push_back(scalar.item<double>());
    return numbers;
  }
  std::vector<at::Tensor> doubles;
  for (const auto& [name, scalar] : scalars) doubles.push_back(scalar.to(at::kDouble));
  HostCopy copy(at::stack(doubles));
  const double* const first = copy.Wait().const_data_ptr<double>();
  numbers.assign(first, first + doubles.size());
  return numbers;
}

// What one rank found in an update, by the names of metrics; the norm of its gradients is among it.
absl::StatusOr<v1::UpdateReport> ReportOf(const std::map<std::string, at::Tensor>& found) {
  return TorchGuard([&]() -> absl::StatusOr<v1::UpdateReport> {
    const at::NoGradGuard no_grad;
    const std::vector<double> numbers = Numbers(found);
    auto number = numbers.begin();
    v1::UpdateReport report;
    for (const auto& [name, scalar] : found) {
      const double value = *number++;
      if (name == metric::kGradNorm) {
        report.set_grad_norm(value);
      } else if (name == metric::kLogprobAbsDiffMax) {
        report.set_logprob_abs_diff_max(value);
      } else {
        (*report.mutable_sums())[name] = value;
      }
    }
    return report;
  });
}

// A device's errors may show first here.
absl::StatusOr<std::string> HashOf(const NamedTensors& parameters) {
  return TorchGuard([&]() -> absl::StatusOr<std::string> { return WeightsHash(parameters); });
}

}  // namespace

Loop::Loop(const Transformer* policy, std::vector<FrozenScorer> frozen, std::vector<std::unique_ptr<Loss>> losses,
           AdamW* optimizer, Collectives* collectives, Options options)
    : policy_(policy),
      frozen_(std::move(frozen)),
      losses_(std::move(losses)),
      optimizer_(optimizer),
      collectives_(collectives),
      options_(options) {
  reads_[""] = {.model = policy, .layers = {}};
  for (const auto& loss : losses_) {
    for (const NeededOutputs& needed : loss->outputs()) {
      Read& read = reads_[needed.policy];
      read.layers.insert(needed.layers.begin(), needed.layers.end());
      for (const FrozenScorer& frozen : frozen_) {
        if (!needed.policy.empty() && frozen.policy == needed.policy) read.model = frozen.model;
      }
    }
  }
}

absl::StatusOr<StepResult> Loop::Step(const StepBatch& part, double learning_rate, double done_frac) {
  for (const auto& [name, read] : reads_) {
    if (read.model != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a loss reads policy ", name, ", which is not among the frozen ones"));
  }
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
      ASSIGN_OR_RETURN(const v1::UpdateReport report, Update(microbatches, learning_rate, done_frac));
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
  ASSIGN_OR_RETURN(result.weights_hash, HashOf(policy_->NamedParameters()));
  RETURN_IF_ERROR(ExpectSameOnAllRanks(result.weights_hash));
  times_.Lap(metric::kCompareSeconds);
  for (const auto& [name, seconds] : times_.seconds()) result.metrics[name] = seconds;
  return result;
}

absl::Status Loop::ExpectSameOnAllRanks(const std::string& weights_hash) {
  NamedTensors own;
  for (const auto& loss : losses_) {
    for (auto& named : loss->parameters()) own.push_back(std::move(named));
  }
  if (own.empty()) return ExpectSameWeights(*collectives_, weights_hash);
  ASSIGN_OR_RETURN(const std::string own_hash, HashOf(own));
  return ExpectSameWeights(*collectives_, absl::StrCat(weights_hash, own_hash));
}

absl::StatusOr<v1::UpdateReport> Loop::Update(const std::vector<Microbatch>& microbatches, double learning_rate,
                                              double done_frac) {
  optimizer_->ZeroGrad();
  times_.Lap(metric::kOptimizerSeconds);
  ASSIGN_OR_RETURN(auto found, Accumulate(microbatches, done_frac));
  std::vector<at::Tensor> gradients = optimizer_->Gradients();
  ASSIGN_OR_RETURN(found[metric::kGradNorm], ReduceGradients(gradients));
  ASSIGN_OR_RETURN(const v1::UpdateReport mine, ReportOf(found));
  times_.Lap(metric::kOptimizerSeconds);
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
  RETURN_IF_ERROR(TorchGuard([&]() -> absl::Status {
    const at::NoGradGuard no_grad;
    const c10::Device device = policy_->placement().device;
    for (Microbatch& microbatch : microbatches) {
      // On the CPU whoever reads them checks them.
      if (!device.is_cpu()) RETURN_IF_ERROR(ExpectInRange(microbatch, policy_->config()));
      microbatch = OnDevice(std::move(microbatch), device);
      for (const FrozenScorer& frozen : frozen_) {
        if (frozen.stream.empty()) continue;
        const at::Tensor hidden = Outputs(*frozen.model, microbatch, /*layers=*/{}).hidden;
        microbatch.streams[frozen.stream] = Logprobs(*frozen.model, microbatch, hidden);
      }
    }
    return absl::OkStatus();
  }));
  for (const Microbatch& microbatch : microbatches) RETURN_IF_ERROR(ExpectStreams(losses_, microbatch.streams));
  return microbatches;
}

absl::StatusOr<std::map<std::string, at::Tensor>> Loop::Accumulate(const std::vector<Microbatch>& microbatches,
                                                                   double done_frac) {
  return TorchGuard([&]() -> absl::StatusOr<std::map<std::string, at::Tensor>> {
    std::map<std::string, at::Tensor> totals;
    const auto add = [&totals](const std::string& name, const at::Tensor& value) {
      at::Tensor& total = totals[name];
      total = total.defined() ? total + value : value;
    };
    for (size_t i = 0; i < microbatches.size(); ++i) {
      const Microbatch& microbatch = microbatches[i];
      collectives_->SetPhase(absl::StrCat("forward_backward ", i + 1, "/", microbatches.size()));
      TargetOutputs of_policy = Outputs(*policy_, microbatch, reads_.at("").layers);
      const at::Tensor predictors = of_policy.hidden;  // [M, D]
      times_.Lap(metric::kForwardSeconds);
      const auto outputs = OutputsOfAll(microbatch, std::move(of_policy));
      times_.Lap(metric::kPackSeconds);
      // Of the output head and the losses, forward and backward; what the layers multiply stays as it is.
      std::optional<Tf32Scope> tf32(std::in_place, policy_->placement().head_tf32);
      predictors.register_hook([&tf32](const at::Tensor&) { tf32.reset(); });
      const at::Tensor policy_logprob = Logprobs(*policy_, microbatch, predictors);  // [M]
      const LossInput input = {.policy_logprob = policy_logprob,
                               .streams = microbatch.streams,
                               .sequence_of_target = microbatch.sequence_of_target,
                               .group_of_target = microbatch.group_of_target,
                               .outputs = outputs,
                               .done_frac = done_frac,
                               .head_chunk_bytes = options_.head_chunk_bytes};
      at::Tensor microbatch_loss;
      for (const auto& loss : losses_) {
        LossOutput output = loss->Compute(input);
        microbatch_loss = microbatch_loss.defined() ? microbatch_loss + output.loss : output.loss;
        for (const auto& [name, sum] : output.sums) add(name, sum);
      }
      times_.Lap(metric::kHeadSeconds);
      // Autograd works from the loss back: when it knows this gradient, the layers are what is left. Of a device it does
      // so on a thread of its own, which this one waits for.
      predictors.register_hook([this](const at::Tensor&) { times_.Lap(metric::kHeadBackwardSeconds); });
      microbatch_loss.backward();
      times_.Lap(metric::kBackwardSeconds);
      add(metric::kLoss, microbatch_loss.detach());
      if (const auto sampled = microbatch.streams.find(stream::kSampleLogprob); sampled != microbatch.streams.end()) {
        const at::Tensor was_sampled = sampled->second < stream::kNotSampled;
        const at::Tensor largest = ((policy_logprob.detach() - sampled->second).abs() * was_sampled).max();
        at::Tensor& total = totals[metric::kLogprobAbsDiffMax];
        total = total.defined() ? at::stack({total, largest}).max() : largest;
      }
    }
    return totals;
  });
}

absl::StatusOr<at::Tensor> Loop::ReduceGradients(const std::vector<at::Tensor>& gradients) {
  collectives_->SetPhase("all_reduce");
  times_.Lap(metric::kBackwardSeconds);
  RETURN_IF_ERROR(collectives_->AllReduceSum(gradients));
  times_.Lap(metric::kReduceSeconds);
  return TorchGuard(
      [&]() -> absl::StatusOr<at::Tensor> { return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))); });
}

TargetOutputs Loop::Outputs(const Transformer& model, const Microbatch& batch, const std::set<int64_t>& layers) const {
  TargetOutputs outputs;
  for (const int64_t layer : layers) outputs.layers[layer] = at::Tensor();
  const auto attention = std::make_shared<PackedAttention>(batch.layout);
  const at::Tensor hidden =
      options_.activation_checkpointing && at::GradMode::is_enabled()
          ? model.CheckpointedForward(batch.ids, batch.positions, attention, &outputs.layers)
          : model.Forward(batch.ids, batch.positions, *attention, /*packed=*/nullptr, &outputs.layers);  // [N, D]
  outputs.hidden = hidden.index_select(0, batch.predictor_rows);
  for (auto& [layer, output] : outputs.layers) output = output.index_select(0, batch.predictor_rows);
  outputs.head = model.head();
  outputs.head_dtype = model.placement().head;
  return outputs;
}

std::map<std::string, TargetOutputs> Loop::OutputsOfAll(const Microbatch& batch, TargetOutputs policy) const {
  const at::NoGradGuard no_grad;
  std::map<std::string, TargetOutputs> outputs;
  for (const auto& [name, read] : reads_) {
    if (name.empty()) continue;
    TargetOutputs& frozen = outputs[name] = Outputs(*read.model, batch, read.layers);
    // Rounded once, not for every chunk of logits.
    frozen.head = frozen.head.to(frozen.head_dtype);
  }
  outputs[""] = std::move(policy);
  return outputs;
}

at::Tensor Loop::Logprobs(const Transformer& model, const Microbatch& batch, const at::Tensor& predictors) const {
  const Tf32Scope tf32(model.placement().head_tf32);
  return TargetLogprobs(predictors, model.head(), batch.target_ids, options_.temperature, options_.head_chunk_bytes,
                        model.placement().head);
}

}  // namespace grpo
