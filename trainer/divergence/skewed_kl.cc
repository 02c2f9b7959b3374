// The skewed KL of DistiLLM (arXiv:2402.03898), p the teacher's, q the student's:
//   m = skew p + (1 - skew) q
//   D = KL(p || m)
//   d / d log q_v = -(1 - skew) p_v q_v / m_v
// At most -log skew, and the derivative vanishes with q_v: what the student cannot do yet does not drown the rest.
// skew 0 is forward_kl.
#include <ATen/TensorOperators.h>

#include "trainer/divergence/divergence_plugin.h"
#include "trainer/divergence/pointwise.h"
#include "trainer/divergence/skew.h"

namespace grpo {
namespace {

struct SkewedKl {
  explicit SkewedKl(const SkewOptions& options) : skew(options.skew) {}

  template <class Real>
  GRPO_SIMD_INLINE Point<Real> operator()(Real log_teacher, Real log_student) const {
    const Real p = pointwise::Probability(log_teacher);
    const pointwise::Mixture<Real> m = pointwise::Mix(log_teacher, log_student, skew);
    const auto nothing = p == Real{};
    return {.value = nothing ? Real{} : -p * m.log_over_teacher,
            .log_student_gradient = nothing ? Real{} : pointwise::Constant<Real>(skew - 1) * p * m.student_share};
  }

  Point<at::Tensor> operator()(const at::Tensor& log_teacher, const at::Tensor& log_student) const {
    const at::Tensor p = pointwise::Probability(log_teacher);
    const pointwise::Mixture<at::Tensor> m = pointwise::Mix(log_teacher, log_student, skew);
    return {.value = pointwise::OrZero(-p * m.log_over_teacher, p),
            .log_student_gradient = pointwise::OrZero((skew - 1) * p * m.student_share, p)};
  }

  double skew;
};

GRPO_SIMD_CLONES double SumRow(const SkewedKl& term, const Row<float>& row) {
  return SumLanes(term, row);
}

}  // namespace

// p - m = (1 - skew) (p - q), so the quadratic form is that of KL times (1 - skew)^2.
DivergencePlugin Divergence_skewed_kl() {
  return MakeDivergencePlugin<SkewOptions, PointwiseDivergence<SkewedKl>>(
      "KL(teacher || a mixture of both), DistiLLM's: forward KL without its infinities.", {.curvature = 0.81});
}

}  // namespace grpo
