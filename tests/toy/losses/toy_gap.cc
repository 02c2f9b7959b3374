// A loss over whole sequences, with an option:
//   gap_s = mean over the targets t of s of (policy_logprob_t - teacher_logprob_t)
//   loss  = strength * sum_s W_s gap_s^2,   W_s = the sum of the sequence's rl_weight
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>

#include "trainer/batch/streams.h"
#include "trainer/loss/loss_plugin.h"

namespace grpo {
namespace {

struct Options {
  double strength = 1.0;

  template <class V>
  void Visit(V& v) {
    v("strength", strength, {.help = "Factor of the loss.", .min = 0, .max = 1000});
  }
};

class ToyGap : public Loss {
 public:
  explicit ToyGap(const Options& options) : strength_(options.strength) {}

  std::vector<std::string> streams() const override { return {"teacher_logprob", stream::kRlWeight}; }

  LossOutput Compute(const LossInput& input) const override {
    const int64_t num_sequences = input.sequence_of_target[-1].item<int64_t>() + 1;
    // [M] -> [sequences]
    const auto by_sequence = [&](const at::Tensor& values) {
      return at::zeros({num_sequences}, values.options()).index_add(0, input.sequence_of_target, values);
    };
    const at::Tensor difference = input.policy_logprob - input.streams.at("teacher_logprob");           // [M]
    const at::Tensor gap = by_sequence(difference) / by_sequence(at::ones_like(input.policy_logprob));  // [sequences]
    const at::Tensor weighted = by_sequence(input.streams.at(stream::kRlWeight)) * gap * gap;           // [sequences]
    LossOutput output;
    output.loss = strength_ * weighted.sum();
    output.sums["toy_gap"] = weighted.detach().sum();
    return output;
  }

 private:
  const double strength_;
};

}  // namespace

LossPlugin Loss_toy_gap() {
  return MakeLossPlugin<Options, ToyGap>("The squared gap to a teacher, a sequence as a whole; for tests.");
}

}  // namespace grpo
