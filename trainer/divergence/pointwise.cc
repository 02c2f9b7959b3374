#include "trainer/divergence/pointwise.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>

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

namespace pointwise {
namespace {

// Logarithms below which e^log is taken for 0, or not taken further down: as for numbers of the CPU.
double LowestLog(const at::Tensor& log) {
  return log.scalar_type() == at::kDouble ? -700.0 : -87.0;
}

}  // namespace

at::Tensor Probability(const at::Tensor& log) {
  return at::exp(log).masked_fill(log < LowestLog(log), 0);
}

Mixture<at::Tensor> Mix(const at::Tensor& log_teacher, const at::Tensor& log_student, double teacher_weight) {
  const at::Tensor difference = log_teacher - log_student, teacher_larger = difference >= 0;
  // Filled on the device: a number in a tensor of the host would have to be brought there.
  const auto choose = [&](double if_teacher_larger, double otherwise) {
    return at::full_like(difference, otherwise).masked_fill_(teacher_larger, if_teacher_larger);
  };
  const at::Tensor larger = choose(teacher_weight, 1 - teacher_weight);
  const at::Tensor smaller = choose(1 - teacher_weight, teacher_weight);
  const at::Tensor log_ratio = -difference.abs();
  const at::Tensor ratio = at::exp(log_ratio.clamp_min(LowestLog(difference)));
  const at::Tensor mixed = at::where(ratio < 0.5, larger + smaller * ratio, 1 + smaller * (ratio - 1));
  const at::Tensor log_mixed = at::where(larger == 0, log_ratio, at::log(mixed));
  const at::Tensor share_of_larger = mixed.reciprocal(), share_of_smaller = ratio / mixed;
  return {.log_over_teacher = at::where(teacher_larger, log_mixed, log_mixed - difference),
          .log_over_student = at::where(teacher_larger, log_mixed + difference, log_mixed),
          .teacher_share = at::where(teacher_larger, share_of_larger, share_of_smaller),
          .student_share = at::where(teacher_larger, share_of_smaller, share_of_larger)};
}

at::Tensor OrZero(const at::Tensor& value, const at::Tensor& probability) {
  return value.masked_fill(probability == 0, 0);
}

}  // namespace pointwise

DivergenceRows SumEntries(const Point<at::Tensor>& entries) {
  return {.value = entries.value.sum(-1, /*keepdim=*/false, at::kDouble).to(entries.value.scalar_type()),
          .log_student_gradient = entries.log_student_gradient};
}

void CheckRows(const at::Tensor& log_teacher, const at::Tensor& log_student) {
  TORCH_CHECK(log_teacher.dim() == 2 && log_teacher.sizes() == log_student.sizes(), "log p is ", log_teacher.sizes(),
              " and log q ", log_student.sizes(), "; both are rows by vocabulary");
  TORCH_CHECK(log_teacher.scalar_type() == log_student.scalar_type(), "log p is ", log_teacher.scalar_type(),
              " and log q ", log_student.scalar_type());
  TORCH_CHECK(log_teacher.device() == log_student.device(), "log p is on ", log_teacher.device(), " and log q on ",
              log_student.device());
  TORCH_CHECK(log_teacher.scalar_type() == at::kFloat || log_teacher.scalar_type() == at::kDouble,
              "log p and log q are float32 or float64, not ", log_teacher.scalar_type());
}

DivergenceRows ForEachRow(const at::Tensor& log_teacher, const at::Tensor& log_student,
                          absl::FunctionRef<double(const Row<float>&)> sum_floats,
                          absl::FunctionRef<double(const Row<double>&)> sum_doubles) {
  if (log_teacher.scalar_type() == at::kFloat) return Rows<float>(log_teacher, log_student, sum_floats);
  return Rows<double>(log_teacher, log_student, sum_doubles);
}

}  // namespace grpo
