#include "trainer/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tensor.h"

namespace grpo {

Loop::Loop(const Transformer* policy, const Transformer* reference, std::vector<std::unique_ptr<Loss>> losses,
           AdamW* optimizer, Collectives* collectives, Options options)
    : policy_(policy),
      reference_(reference),
      losses_(std::move(losses)),
      optimizer_(optimizer),
      collectives_(collectives),
      options_(options) {}

absl::StatusOr<std::map<std::string, double>> Loop::Step(const StepBatch& batch, double learning_rate) {
  std::map<std::string, double> metrics = batch.metrics;
  metrics["learning_rate"] = learning_rate;
  std::vector<std::vector<Microbatch>> minibatches;
  for (const auto& sequences : batch.minibatches) {
    ASSIGN_OR_RETURN(minibatches.emplace_back(), PackWithReference(sequences));
  }
  // Over the updates; their means are reported.
  std::map<std::string, double> sums;
  double num_updates = 0, num_skipped = 0;
  for (int64_t iteration = 0; iteration < batch.iterations; ++iteration) {
    for (const std::vector<Microbatch>& microbatches : minibatches) {
      optimizer_->ZeroGrad();
      std::map<std::string, at::Tensor> totals;
      RETURN_IF_ERROR(Accumulate(microbatches, totals));
      ASSIGN_OR_RETURN(const double grad_norm, ReduceAndClip());
      sums["grad_norm"] += grad_norm;
      bool finite = std::isfinite(grad_norm);
      for (const auto& [name, total] : totals) {
        const double value = total.item<double>();
        if (name == "logprob_abs_diff_max") {
          // Later updates move the policy away from the sampler by design.
          if (num_updates == 0) metrics[name] = value;
        } else {
          sums[name] += value;
          finite = finite && std::isfinite(value);
        }
      }
      ++num_updates;
      if (finite) {
        optimizer_->Step(learning_rate);
      } else {
        ++num_skipped;
      }
    }
  }
  for (const auto& [name, sum] : sums) metrics[name] = sum / num_updates;
  metrics["skipped_updates"] = num_skipped;
  return metrics;
}

absl::StatusOr<std::vector<Microbatch>> Loop::PackWithReference(const std::vector<TokenStreams>& sequences) const {
  ASSIGN_OR_RETURN(std::vector<Microbatch> microbatches, Pack(sequences, options_.micro_batch_tokens));
  if (reference_ != nullptr) {
    const at::NoGradGuard no_grad;
    for (Microbatch& microbatch : microbatches) {
      microbatch.streams[stream::kRefLogprob] = TargetLogprobs(*reference_, microbatch, options_.temperature);
    }
  }
  return microbatches;
}

absl::Status Loop::Accumulate(const std::vector<Microbatch>& microbatches, std::map<std::string, at::Tensor>& totals) {
  return TorchGuard([&]() -> absl::Status {
    for (const Microbatch& microbatch : microbatches) {
      const at::Tensor policy_logprob = TargetLogprobs(*policy_, microbatch, options_.temperature);  // [M]
      at::Tensor microbatch_loss;
      const auto add = [&totals](const std::string& name, const at::Tensor& value) {
        at::Tensor& total = totals[name];
        total = total.defined() ? total + value : value;
      };
      for (const auto& loss : losses_) {
        LossOutput output = loss->Compute(policy_logprob, microbatch.streams);
        microbatch_loss = microbatch_loss.defined() ? microbatch_loss + output.loss : output.loss;
        for (const auto& [name, sum] : output.sums) add(name, sum);
      }
      microbatch_loss.backward();
      add("loss", microbatch_loss.detach());
      if (const auto sampled = microbatch.streams.find(stream::kSampleLogprob); sampled != microbatch.streams.end()) {
        const at::Tensor largest = (policy_logprob.detach() - sampled->second).abs().max();
        at::Tensor& total = totals["logprob_abs_diff_max"];
        total = total.defined() ? at::stack({total, largest}).max() : largest;
      }
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<double> Loop::ReduceAndClip() {
  std::vector<at::Tensor> gradients = optimizer_->Gradients();
  RETURN_IF_ERROR(collectives_->AllReduceSum(gradients));
  return TorchGuard([&]() -> absl::StatusOr<double> {
    const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))).item<double>();
    if (options_.max_grad_norm > 0 && norm > options_.max_grad_norm)
      at::_foreach_mul_(gradients, options_.max_grad_norm / norm);
    return norm;
  });
}

at::Tensor TargetLogprobs(const Transformer& model, const Microbatch& batch, double temperature) {
  PackedAttention attention(batch.lengths);
  const at::Tensor hidden = model.Forward(batch.ids, batch.positions, attention);        // [N, D]
  const at::Tensor logits = model.Logits(hidden.index_select(0, batch.predictor_rows));  // [M, V]
  const at::Tensor logprobs = at::log_softmax(temperature == 1.0 ? logits : logits / temperature, -1);
  return logprobs.gather(1, batch.target_ids.unsqueeze(1)).squeeze(1);  // [M]
}

}  // namespace grpo
