// KL(q || p) = sum_v q_v (log q_v - log p_v), q the student's (arXiv:2306.08543, arXiv:2306.13649). The student is kept
// from what the teacher would not do, and may leave out some of what it does.
// d / d log q_v = q_v (log q_v - log p_v + 1). Infinite, as is the derivative, where q_v > 0 = p_v.
#include <ATen/TensorOperators.h>

#include "trainer/divergence/divergence_plugin.h"
#include "trainer/divergence/pointwise.h"

namespace grpo {
namespace {

struct ReverseKl {
  template <class Real>
  GRPO_SIMD_INLINE Point<Real> operator()(Real log_teacher, Real log_student) const {
    const Real q = pointwise::Probability(log_student);
    const Real value = q == Real{} ? Real{} : q * (log_student - log_teacher);
    return {.value = value, .log_student_gradient = value + q};
  }

  Point<at::Tensor> operator()(const at::Tensor& log_teacher, const at::Tensor& log_student) const {
    const at::Tensor q = pointwise::Probability(log_student);
    const at::Tensor value = pointwise::OrZero(q * (log_student - log_teacher), q);
    return {.value = value, .log_student_gradient = value + q};
  }
};

GRPO_SIMD_CLONES double SumRow(const ReverseKl& term, const Row<float>& row) {
  return SumLanes(term, row);
}

}  // namespace

DivergencePlugin Divergence_reverse_kl() {
  return MakeDivergencePlugin<NoOptions, PointwiseDivergence<ReverseKl>>(
      "KL(student || teacher): the student keeps off what the teacher would not do.", {.curvature = 1});
}

}  // namespace grpo
