// KL(p || q) = sum_v p_v (log p_v - log q_v), p the teacher's (arXiv:1503.02531). The student is made to cover all that
// the teacher does. d / d log q_v = -p_v. Infinite where p_v > 0 = q_v.
#include <ATen/TensorOperators.h>

#include "trainer/divergence/divergence_plugin.h"
#include "trainer/divergence/pointwise.h"

namespace grpo {
namespace {

struct ForwardKl {
  template <class Real>
  GRPO_SIMD_INLINE Point<Real> operator()(Real log_teacher, Real log_student) const {
    const Real p = pointwise::Probability(log_teacher);
    return {.value = p == Real{} ? Real{} : p * (log_teacher - log_student), .log_student_gradient = -p};
  }

  Point<at::Tensor> operator()(const at::Tensor& log_teacher, const at::Tensor& log_student) const {
    const at::Tensor p = pointwise::Probability(log_teacher);
    return {.value = pointwise::OrZero(p * (log_teacher - log_student), p), .log_student_gradient = -p};
  }
};

GRPO_SIMD_CLONES double SumRow(const ForwardKl& term, const Row<float>& row) {
  return SumLanes(term, row);
}

}  // namespace

DivergencePlugin Divergence_forward_kl() {
  return MakeDivergencePlugin<NoOptions, PointwiseDivergence<ForwardKl>>(
      "KL(teacher || student): the student covers all that the teacher does.", {.curvature = 1});
}

}  // namespace grpo
