// Tensors of goldens.
#ifndef GRPO_TESTS_PARITY_GOLDEN_TENSORS_H_
#define GRPO_TESTS_PARITY_GOLDEN_TENSORS_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <nlohmann/json.hpp>
#include <vector>

namespace grpo {

// Rows of one length: [R, C] float64.
inline at::Tensor Matrix(const nlohmann::json& rows) {
  std::vector<double> values;
  for (const nlohmann::json& row : rows) values.insert(values.end(), row.begin(), row.end());
  return at::tensor(values, at::kDouble).view({static_cast<int64_t>(rows.size()), -1});
}

}  // namespace grpo

#endif  // GRPO_TESTS_PARITY_GOLDEN_TENSORS_H_
