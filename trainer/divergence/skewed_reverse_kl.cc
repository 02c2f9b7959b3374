// The skewed reverse KL of DistiLLM (arXiv:2402.03898), p the teacher's, q the student's:
//   m = (1 - skew) p + skew q
//   D = KL(q || m)
//   d / d log q_v = q_v (log q_v - log m_v + (1 - skew) p_v / m_v)
// At most -log skew. skew 0 is reverse_kl.
#include <ATen/TensorOperators.h>

#include "trainer/divergence/divergence_plugin.h"
#include "trainer/divergence/pointwise.h"
#include "trainer/divergence/skew.h"

namespace grpo {
namespace {

struct SkewedReverseKl {
  explicit SkewedReverseKl(const SkewOptions& options) : skew(options.skew) {}

  template <class Real>
  GRPO_SIMD_INLINE Point<Real> operator()(Real log_teacher, Real log_student) const {
    const Real q = pointwise::Probability(log_student);
    const pointwise::Mixture<Real> m = pointwise::Mix(log_teacher, log_student, 1 - skew);
    const auto nothing = q == Real{};
    const Real value = nothing ? Real{} : -q * m.log_over_student;
    const Real pull = nothing ? Real{} : pointwise::Constant<Real>(1 - skew) * q * m.teacher_share;
    return {.value = value, .log_student_gradient = value + pull};
  }

  Point<at::Tensor> operator()(const at::Tensor& log_teacher, const at::Tensor& log_student) const {
    const at::Tensor q = pointwise::Probability(log_student);
    const pointwise::Mixture<at::Tensor> m = pointwise::Mix(log_teacher, log_student, 1 - skew);
    const at::Tensor value = pointwise::OrZero(-q * m.log_over_student, q);
    return {.value = value, .log_student_gradient = value + pointwise::OrZero((1 - skew) * q * m.teacher_share, q)};
  }

  double skew;
};

GRPO_SIMD_CLONES double SumRow(const SkewedReverseKl& term, const Row<float>& row) {
  return SumLanes(term, row);
}

}  // namespace

// q - m = (1 - skew) (q - p), so the quadratic form is that of KL times (1 - skew)^2.
DivergencePlugin Divergence_skewed_reverse_kl() {
  return MakeDivergencePlugin<SkewOptions, PointwiseDivergence<SkewedReverseKl>>(
      "KL(student || a mixture of both), DistiLLM's: reverse KL without its infinities.", {.curvature = 0.81});
}

}  // namespace grpo
