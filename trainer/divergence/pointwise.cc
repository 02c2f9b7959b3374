#include "trainer/divergence/pointwise.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "model/threads.h"

namespace grpo {
namespace {

template <class Real>
DivergenceRows Rows(const at::Tensor& log_teacher, const at::Tensor& log_student,
                    absl::FunctionRef<double(const Row<Real>&)> sum_row) {
  const int64_t num_rows = log_teacher.size(0), vocab_size = log_teacher.size(1);
  const at::Tensor teacher = log_teacher.contiguous(), student = log_student.contiguous();
  DivergenceRows rows = {.value = at::empty({num_rows}, teacher.options()),
                         .log_student_gradient = at::empty({num_rows, vocab_size}, teacher.options())};
  const Real *const log_p = teacher.const_data_ptr<Real>(), *const log_q = student.const_data_ptr<Real>();
  Real *const value = rows.value.data_ptr<Real>(), *const gradient = rows.log_student_gradient.data_ptr<Real>();
  at::parallel_for(0, num_rows, RowsPerThread(std::max<int64_t>(vocab_size, 1)), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t start = row * vocab_size;
      value[row] = static_cast<Real>(sum_row({.log_teacher = log_p + start,
                                              .log_student = log_q + start,
                                              .size = vocab_size,
                                              .log_student_gradient = gradient + start}));
    }
  });
  return rows;
}

}  // namespace

DivergenceRows ForEachRow(const at::Tensor& log_teacher, const at::Tensor& log_student,
                          absl::FunctionRef<double(const Row<float>&)> sum_floats,
                          absl::FunctionRef<double(const Row<double>&)> sum_doubles) {
  TORCH_CHECK(log_teacher.dim() == 2 && log_teacher.sizes() == log_student.sizes(), "log p is ", log_teacher.sizes(),
              " and log q ", log_student.sizes(), "; both are rows by vocabulary");
  TORCH_CHECK(log_teacher.scalar_type() == log_student.scalar_type(), "log p is ", log_teacher.scalar_type(),
              " and log q ", log_student.scalar_type());
  TORCH_CHECK(log_teacher.is_cpu() && log_student.is_cpu(), "divergences are computed on the CPU");
  if (log_teacher.scalar_type() == at::kFloat) return Rows<float>(log_teacher, log_student, sum_floats);
  TORCH_CHECK(log_teacher.scalar_type() == at::kDouble, "log p and log q are float32 or float64, not ",
              log_teacher.scalar_type());
  return Rows<double>(log_teacher, log_student, sum_doubles);
}

}  // namespace grpo
