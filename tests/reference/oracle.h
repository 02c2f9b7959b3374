// What a GRPO step must do, to be read beside the papers and to measure trainer/ by: one process, one sequence at a
// time, one token at a time, float64 wherever the model's own float32 forward pass is not in the way. It shares
// model/transformer.h with trainer/ and nothing else. Slow; only for tests, which see to it that its input is sound.
#ifndef GRPO_TESTS_REFERENCE_ORACLE_H_
#define GRPO_TESTS_REFERENCE_ORACLE_H_

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "model/transformer.h"

namespace grpo {

struct OracleSample {
  // Of the completion, [T] each.
  std::vector<int64_t> ids;
  std::vector<double> sample_logprob;
  // False for tokens that the policy reads but does not learn.
  std::vector<bool> trainable_mask;
  // Absent: the sample is neither part of the baseline nor learned from.
  std::optional<double> reward;
};

struct OracleGroup {
  std::vector<int64_t> prompt_ids;
  std::vector<OracleSample> samples;
};

struct OracleOptions {
  // Advantages are divided by the group's standard deviation plus std_eps (arXiv:2402.03300), or not at all (Dr. GRPO,
  // arXiv:2503.20783).
  bool scale_rewards = true;
  double std_eps = 1e-4;
  // The loss is the mean over tokens (DAPO, arXiv:2503.14476) or the mean over completions of the mean over their
  // tokens (arXiv:2402.03300).
  bool token_mean = true;
  double clip_low = 0.2, clip_high = 0.2;
  double kl_coefficient = 0;
  // Of the distribution that was sampled from.
  double temperature = 1;
  // Passes over the step's groups, and the updates in a pass, each on its share of the groups, in their order.
  int iterations_per_step = 1, minibatches_per_iteration = 1;
  double learning_rate = 3e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  // 0 does not clip.
  double max_grad_norm = 0;
};

// One thread.
class Oracle {
 public:
  // `policy` requires grad and is updated in place; `reference` may be null when kl_coefficient is 0. Both outlive the
  // oracle.
  Oracle(Transformer* policy, const Transformer* reference, const OracleOptions& options);

  // Takes the step's updates; returns the mean of their losses.
  double Step(const std::vector<OracleGroup>& groups);

  // Of the last update, before clipping: float64, in the order of policy->NamedParameters().
  const std::vector<at::Tensor>& gradients() const { return gradients_; }

 private:
  // Fills gradients_; returns the loss.
  double Differentiate(const std::vector<OracleGroup>& groups);
  void MoveWeights();

  Transformer* const policy_;
  const Transformer* const reference_;
  const OracleOptions options_;
  // What is learned, with its gradient, first and second moment; float64.
  std::vector<at::Tensor> weights_, gradients_, moments_, squares_;
  int num_updates_ = 0;
};

// A_i = (R_i - mean(R)) / (std(R) + std_eps) over the rewards that are there; 0 for the others, and for all of a group
// with fewer than two rewards.
std::vector<double> OracleAdvantages(const OracleGroup& group, const OracleOptions& options);

// log p(token | prefix) at the temperature, scalar float64, differentiable: a forward over the prefix and nothing else.
at::Tensor TokenLogprob(const Transformer& model, const std::vector<int64_t>& prefix, int64_t token,
                        double temperature);

}  // namespace grpo

#endif  // GRPO_TESTS_REFERENCE_ORACLE_H_
