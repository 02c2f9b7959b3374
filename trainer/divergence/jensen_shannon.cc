// The generalised Jensen-Shannon divergence of GKD (arXiv:2306.13649 eq. 1), p the teacher's, q the student's:
//   m = beta p + (1 - beta) q
//   D = beta KL(p || m) + (1 - beta) KL(q || m)
//   d / d log q_v = (1 - beta) q_v (log q_v - log m_v)
// Never above the entropy of (beta, 1 - beta): no zero makes it infinite. Divided by beta it goes to KL(p || q) as beta
// goes to 0, divided by 1 - beta to KL(q || p) as beta goes to 1.
//
// TRL 1.13's generalized_jsd_loss (GKDTrainer; DistillationTrainer has the same) is this with the same beta inside
// (0, 1). At 0 and 1 themselves it leaps to KL(p || q) and KL(q || p), undivided; here those are forward_kl and
// reverse_kl, and beta is neither.
#include <ATen/TensorOperators.h>

#include "trainer/divergence/divergence_plugin.h"
#include "trainer/divergence/pointwise.h"

namespace grpo {
namespace {

struct Options {
  double beta = 0.5;

  template <class V>
  void Visit(V& v) {
    v("beta", beta,
      {.help =
           "The teacher's share of the mixture, and the weight of its KL term. For what 0 and 1 are elsewhere, take "
           "forward_kl and reverse_kl.",
       .min = 1e-6,
       .max = 1 - 1e-6});
  }
};

struct JensenShannon {
  explicit JensenShannon(const Options& options) : beta(options.beta) {}

  template <class Real>
  GRPO_SIMD_INLINE Point<Real> operator()(Real log_teacher, Real log_student) const {
    const Real p = pointwise::Probability(log_teacher), q = pointwise::Probability(log_student);
    const pointwise::Mixture<Real> m = pointwise::Mix(log_teacher, log_student, beta);
    const Real of_teacher = p == Real{} ? Real{} : pointwise::Constant<Real>(-beta) * p * m.log_over_teacher;
    const Real of_student = q == Real{} ? Real{} : pointwise::Constant<Real>(beta - 1) * q * m.log_over_student;
    return {.value = of_teacher + of_student, .log_student_gradient = of_student};
  }

  Point<at::Tensor> operator()(const at::Tensor& log_teacher, const at::Tensor& log_student) const {
    const at::Tensor p = pointwise::Probability(log_teacher), q = pointwise::Probability(log_student);
    const pointwise::Mixture<at::Tensor> m = pointwise::Mix(log_teacher, log_student, beta);
    const at::Tensor of_teacher = pointwise::OrZero(-beta * p * m.log_over_teacher, p);
    const at::Tensor of_student = pointwise::OrZero((beta - 1) * q * m.log_over_student, q);
    return {.value = of_teacher + of_student, .log_student_gradient = of_student};
  }

  double beta;
};

GRPO_SIMD_CLONES double SumRow(const JensenShannon& term, const Row<float>& row) {
  return SumLanes(term, row);
}

}  // namespace

// Near p = q the two terms are (1 - beta)^2 and beta^2 times KL's quadratic form: with their weights, beta (1 - beta).
DivergencePlugin Divergence_jensen_shannon() {
  return MakeDivergencePlugin<Options, PointwiseDivergence<JensenShannon>>(
      "The generalised Jensen-Shannon divergence of GKD: between forward and reverse KL, and bounded.",
      {.curvature = 0.25});
}

}  // namespace grpo
