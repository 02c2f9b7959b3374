// Divergences that are a sum over the vocabulary, in one pass over both rows: each entry's term and derivative are
// computed, the terms added up in double, and the derivatives written. A vocabulary is large and a chunk of rows does
// not fit a cache, so every further pass and every temporary [C, V] would cost as much as the arithmetic. A row's bits
// depend on that row alone, whatever the thread count.
//
//   struct X {
//     template <class Real>
//     GRPO_SIMD_INLINE Point<Real> operator()(Real log_teacher, Real log_student) const { ... }
//   };
//   GRPO_SIMD_CLONES double SumRow(const X& term, const Row<float>& row) { return SumLanes(term, row); }
//
// in a .cc, and PointwiseDivergence<X> is the Divergence. Real is double or simd::Floats, sixteen at once: what is
// written with + - * / and `condition ? a : b` serves both. X is constructed from its options, or from nothing.
//
// For tensors on a device X has a second operator(), of whole tensors: the same formula in ATen's operations, which
// keep about ten temporaries of the rows' size.
#ifndef GRPO_TRAINER_DIVERGENCE_POINTWISE_H_
#define GRPO_TRAINER_DIVERGENCE_POINTWISE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "absl/functional/function_ref.h"
#include "model/simd.h"
#include "trainer/divergence/divergence.h"

namespace grpo {

// What one entry of the vocabulary adds to the value, and the value's derivative by its log q. Real is at::Tensor for
// all entries of some rows, [C, V] each.
template <class Real>
struct Point {
  Real value, log_student_gradient;
};

// One row; the gradient is written.
template <class Real>
struct Row {
  const Real* log_teacher;     // [V]
  const Real* log_student;     // [V]
  int64_t size;                // V
  Real* log_student_gradient;  // [V]
};

// --- For terms ---

namespace pointwise {

using simd::Floats;

// e^x, and e^bound for x below a bound that still gives a normal number: never 0.
GRPO_SIMD_INLINE Floats Exp(Floats x) {
  return simd::Exp(x);
}
GRPO_SIMD_INLINE double Exp(double x) {
  return std::exp(x < -700.0 ? -700.0 : x);
}
// Of a positive number.
GRPO_SIMD_INLINE Floats Log(Floats x) {
  return simd::Log(x);
}
GRPO_SIMD_INLINE double Log(double x) {
  return std::log(x);
}
// e^log, and 0 where that is below the smallest normal number.
GRPO_SIMD_INLINE Floats Probability(Floats log) {
  return log < -87.0f ? Floats{} : simd::Exp(log);
}
GRPO_SIMD_INLINE double Probability(double log) {
  return log < -700.0 ? 0.0 : std::exp(log);
}

// `value` in every lane.
template <class Real>
GRPO_SIMD_INLINE Real Constant(double value) {
  if constexpr (std::is_same_v<Real, double>)
    return value;
  else
    return simd::Fill(static_cast<float>(value));
}

// The mixture m = w p + (1 - w) q seen from p and from q.
template <class Real>
struct Mixture {
  Real log_over_teacher, log_over_student;  // log(m / p), log(m / q)
  Real teacher_share, student_share;        // p / m, q / m
};

// w = teacher_weight, in [0, 1]. In the log domain and from the larger of the two: with r = smaller / larger, which
// cannot overflow, m / larger = (the larger one's weight) + (the smaller one's) r. Where p is 0, what is said of q is
// good, and the other way round; where both are, it is NaN.
template <class Real>
GRPO_SIMD_INLINE Mixture<Real> Mix(Real log_teacher, Real log_student, double teacher_weight) {
  const Real teacher = Constant<Real>(teacher_weight), student = Constant<Real>(1 - teacher_weight);
  const Real difference = log_teacher - log_student;
  const auto teacher_larger = difference >= Real{};
  const Real larger = teacher_larger ? teacher : student, smaller = teacher_larger ? student : teacher;
  const Real log_ratio = teacher_larger ? -difference : difference;
  const Real ratio = Exp(log_ratio);
  // Two ways to write one sum: the second is 1 to the bit where p is q, the first loses nothing of a small weight.
  const Real mixed = ratio < 0.5f ? larger + smaller * ratio : 1.0f + smaller * (ratio - 1.0f);
  // Without the larger one's share it is the ratio itself, which may be below what Exp gives.
  const Real log_mixed = larger == Real{} ? log_ratio : Log(mixed);
  const Real share_of_larger = 1.0f / mixed, share_of_smaller = ratio / mixed;
  return {.log_over_teacher = teacher_larger ? log_mixed : log_mixed - difference,
          .log_over_student = teacher_larger ? log_mixed + difference : log_mixed,
          .teacher_share = teacher_larger ? share_of_larger : share_of_smaller,
          .student_share = teacher_larger ? share_of_smaller : share_of_larger};
}

// The same of tensors, wherever they lie, by ATen's operations; nothing in them waits for a device. For a division by
// zero, or the like, terms put a 0 themselves: OrZero.
at::Tensor Probability(const at::Tensor& log);
Mixture<at::Tensor> Mix(const at::Tensor& log_teacher, const at::Tensor& log_student, double teacher_weight);
// `value`, and 0 where the probability is 0.
at::Tensor OrZero(const at::Tensor& value, const at::Tensor& probability);

}  // namespace pointwise

// --- Rows ---

// The term's sum over a float32 row. Sixteen numbers of a lane are added in float32, all else in double.
template <class Term>
GRPO_SIMD_INLINE double SumLanes(const Term& term, const Row<float>& row) {
  constexpr int64_t kBlock = 16 * simd::kLanes;
  double total = 0;
  for (int64_t begin = 0; begin < row.size; begin += kBlock) {
    const int64_t end = std::min(row.size, begin + kBlock);
    simd::Floats sum = {};
    for (int64_t i = begin; i < end; i += simd::kLanes) {
      const int64_t count = std::min(simd::kLanes, end - i);
      const Point<simd::Floats> point =
          term(simd::Load(row.log_teacher + i, count), simd::Load(row.log_student + i, count));
      simd::Store(row.log_student_gradient + i, point.log_student_gradient, count);
      sum += simd::FirstLanes(count) ? point.value : simd::Floats{};
    }
    total += simd::Sum(sum);
  }
  return total;
}

// The same for float64, entry by entry: for tests and small vocabularies.
template <class Term>
double SumEntries(const Term& term, const Row<double>& row) {
  double total = 0;
  for (int64_t i = 0; i < row.size; ++i) {
    const Point<double> point = term(row.log_teacher[i], row.log_student[i]);
    row.log_student_gradient[i] = point.log_student_gradient;
    total += point.value;
  }
  return total;
}

// Divergence::Compute of rows on the CPU, which fit together, with what sums one row of each dtype and writes its
// gradient. Rows are shared out over threads.
DivergenceRows ForEachRow(const at::Tensor& log_teacher, const at::Tensor& log_student,
                          absl::FunctionRef<double(const Row<float>&)> sum_floats,
                          absl::FunctionRef<double(const Row<double>&)> sum_doubles);

// The rows of what a term says of all their entries: values are summed in double.
DivergenceRows SumEntries(const Point<at::Tensor>& entries);
// What does not fit together, device apart, ends in an exception.
void CheckRows(const at::Tensor& log_teacher, const at::Tensor& log_student);

template <class Term>
class PointwiseDivergence : public Divergence {
 public:
  template <class... Options>
  explicit PointwiseDivergence(const Options&... options) : term_(options...) {}

  DivergenceRows Compute(const at::Tensor& log_teacher, const at::Tensor& log_student) const override {
    CheckRows(log_teacher, log_student);
    if (!log_student.is_cpu()) return SumEntries(term_(log_teacher, log_student));
    return ForEachRow(
        log_teacher, log_student, [this](const Row<float>& row) { return SumRow(term_, row); },
        [this](const Row<double>& row) { return SumEntries(term_, row); });
  }

 private:
  const Term term_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_DIVERGENCE_POINTWISE_H_
