// How far a student's distribution q over the vocabulary is from a teacher's p: a .cc beside this file and a line in
// divergences.inc (divergence_plugin.h says what is in it). tests/contract/divergences_test.cc covers each.
//
// Temperature, the T^2 factor, top-k tails and weights are the caller's.
#ifndef GRPO_TRAINER_DIVERGENCE_DIVERGENCE_H_
#define GRPO_TRAINER_DIVERGENCE_DIVERGENCE_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/visit.h"

namespace grpo {

// Of the inputs' dtype, detached. C rows, V entries of the vocabulary.
struct DivergenceRows {
  // D(p || q) of each row, [C], in nats.
  at::Tensor value;
  // d value_c / d log q_v with the log q_v taken as free variables, [C, V]. Whoever made log q from logits applies the
  // softmax's (and the temperature's) Jacobian: with q = softmax(z / T), d value / d z_v = (g_v - q_v sum_u g_u) / T.
  at::Tensor log_student_gradient;
};

// Pure; any thread. What does not fit (shapes, dtypes) is a bug and ends in an exception of torch (TorchGuard).
class Divergence {
 public:
  virtual ~Divergence() = default;
  // log p and log q: [C, V], natural logarithms, both float32 or both float64, on one device; C may be 0. Rows need not
  // sum to 1 (a cut tail): the formula is then taken as it stands, and may be negative. -inf where a probability is 0.
  //
  // 0 log 0 is 0. Where the divergence is infinite (forward_kl: p_v > 0 = q_v; reverse_kl: q_v > 0 = p_v) so are value
  // or gradient, and no number is put in its place; NaN comes from NaN only. In float32 a probability below 1e-37 may
  // count as 0. A row's results depend on that row alone.
  virtual DivergenceRows Compute(const at::Tensor& log_teacher, const at::Tensor& log_student) const = 0;
};

// An entry of the list.
struct DivergenceInfo {
  std::string name, summary;
  // c with default options: for distributions that come near each other, D goes to c / 2 sum_v (p_v - q_v)^2 / q_v, so
  // with p = softmax(z_p / T), q = softmax(z_q / T) and T to infinity, T^2 D goes to c / 2 Var_v(z_p - z_q) over the
  // vocabulary (arXiv:1503.02531 section 2.1 for KL). The larger, the harder it pulls at a given weight.
  double curvature = 1;
};

// In the order of divergences.inc. Any thread.
const std::vector<DivergenceInfo>& ListDivergences();
// The divergence with these options (configs/load.h). InvalidArgument for an unknown name (the nearest is named), and
// for options that do not fit (the key is named).
absl::StatusOr<std::unique_ptr<Divergence>> MakeDivergence(const std::string& name, const Section& options = {});

}  // namespace grpo

#endif  // GRPO_TRAINER_DIVERGENCE_DIVERGENCE_H_
