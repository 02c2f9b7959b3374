// Which of torch's operators the time goes to.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_OPERATORS_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_OPERATORS_H_

#include <cstdint>

#include "nlohmann/json.hpp"

namespace grpo {

// From its construction on it observes every operator of the process, which costs each about a microsecond; one at a
// time. What own kernels do counts where they say RECORD_FUNCTION.
class OperatorTimes {
 public:
  // An operator with a tensor that has a dimension of `head_size` (the vocabulary) is the output head's.
  explicit OperatorTimes(int64_t head_size);
  ~OperatorTimes();
  OperatorTimes(const OperatorTimes&) = delete;
  OperatorTimes& operator=(const OperatorTimes&) = delete;

  // {"aten::mm": {"seconds", "calls"}, "aten::mm (head)": ..., ...}: seconds inside the operator and none that it
  // called, summed over threads; the longest first, `count` of them at most.
  nlohmann::ordered_json Longest(int64_t count) const;
  // Seconds of the layers' matrix products: of every operator that multiplies a matrix and is not the head's.
  double LinearSeconds() const;

 private:
  const uint64_t handle_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_OPERATORS_H_
