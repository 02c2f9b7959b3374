// The squared Hellinger distance, with an option, of whole tensors and without the help of pointwise.h:
//   D = strength / 2 sum_v (sqrt p_v - sqrt q_v)^2
//   d / d log q_v = strength / 2 (q_v - sqrt(p_v q_v))
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>

#include "trainer/divergence/divergence_plugin.h"

namespace grpo {
namespace {

struct Options {
  double strength = 2.0;

  template <class V>
  void Visit(V& v) {
    v("strength", strength, {.help = "Factor of the distance.", .min = 0, .max = 1000});
  }
};

class ToyHellinger : public Divergence {
 public:
  explicit ToyHellinger(const Options& options) : strength_(options.strength) {}

  DivergenceRows Compute(const at::Tensor& log_teacher, const at::Tensor& log_student) const override {
    const at::Tensor root_p = at::exp(log_teacher / 2), root_q = at::exp(log_student / 2);  // [C, V]
    const at::Tensor gap = root_q - root_p;                                                 // [C, V]
    return {.value = strength_ / 2 * (gap * gap).sum(-1), .log_student_gradient = strength_ / 2 * root_q * gap};
  }

 private:
  const double strength_;
};

}  // namespace

// (sqrt p - sqrt q)^2 is (p - q)^2 / (4 q) near p = q.
DivergencePlugin Divergence_toy_hellinger() {
  return MakeDivergencePlugin<Options, ToyHellinger>("The squared Hellinger distance; for tests.", {.curvature = 0.5});
}

}  // namespace grpo
