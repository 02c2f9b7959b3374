// The contract of every divergence in trainer/divergences.inc (docs/design.md section 3).
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "trainer/divergence/divergence.h"

namespace grpo {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Logits between -size and size, [rows, vocab] float64.
at::Tensor RandomLogits(const std::string& name, int64_t rows, int64_t vocab, double size = 3) {
  Rng rng(HashName(name));
  at::Tensor logits = at::zeros({rows, vocab}, at::kDouble);
  for (int64_t i = 0; i < logits.numel(); ++i) logits.data_ptr<double>()[i] = size * (2 * rng.Uniform() - 1);
  return logits;
}

at::Tensor LogSoftmax(const at::Tensor& logits) {
  return at::log_softmax(logits, -1);
}

// d value / d the student's logits, the log-softmax of which log_student is. [C, V]
at::Tensor LogitGradient(const DivergenceRows& rows, const at::Tensor& log_student) {
  const at::Tensor& gradient = rows.log_student_gradient;
  return gradient - at::exp(log_student) * gradient.sum(-1, /*keepdim=*/true);
}

double Largest(const at::Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

void ExpectNear(const DivergenceRows& rows, const at::Tensor& value, const at::Tensor& gradient, double tolerance) {
  EXPECT_LT(Largest(rows.value - value), tolerance);
  EXPECT_LT(Largest(rows.log_student_gradient - gradient), tolerance);
}

bool AllFinite(const DivergenceRows& rows) {
  return at::isfinite(rows.value).all().item<bool>() && at::isfinite(rows.log_student_gradient).all().item<bool>();
}

bool AnyNan(const DivergenceRows& rows) {
  return at::isnan(rows.value).any().item<bool>() || at::isnan(rows.log_student_gradient).any().item<bool>();
}

class DivergenceContractTest : public ::testing::TestWithParam<DivergenceInfo> {
 protected:
  DivergenceContractTest()
      : divergence_(*MakeDivergence(GetParam().name)),
        log_teacher_(LogSoftmax(RandomLogits("teacher", kRows, kVocab))),
        log_student_(LogSoftmax(RandomLogits("student", kRows, kVocab))) {}

  // Finite differences of the row, in every direction.
  void ExpectTheGradientOfFiniteDifferences(const at::Tensor& log_teacher, const at::Tensor& log_student) const {
    const at::Tensor gradient = divergence_->Compute(log_teacher, log_student).log_student_gradient;
    constexpr double kStep = 1e-5;
    for (int64_t v = 0; v < log_student.size(1); ++v) {
      at::Tensor up = log_student.clone(), down = log_student.clone();
      up.select(1, v) += kStep;
      down.select(1, v) -= kStep;
      const at::Tensor difference =
          divergence_->Compute(log_teacher, up).value - divergence_->Compute(log_teacher, down).value;  // [C]
      EXPECT_LT(Largest(gradient.select(1, v) - difference / (2 * kStep)), 1e-8) << "entry " << v;
    }
  }

  static constexpr int64_t kRows = 7, kVocab = 37;
  const std::unique_ptr<Divergence> divergence_;
  const at::Tensor log_teacher_, log_student_;  // [kRows, kVocab] float64
};

TEST_P(DivergenceContractTest, TheGradientMatchesFiniteDifferences) {
  ExpectTheGradientOfFiniteDifferences(log_teacher_, log_student_);
}

// As after a cut tail: the rows sum to less than 1, each to something else.
TEST_P(DivergenceContractTest, TheGradientMatchesFiniteDifferencesOfRowsThatDoNotSumToOne) {
  ExpectTheGradientOfFiniteDifferences(log_teacher_.narrow(1, 3, 11), log_student_.narrow(1, 3, 11));
}

TEST_P(DivergenceContractTest, ShapesAndDtypesAreThoseOfTheInputs) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const int64_t rows : {int64_t{0}, kRows}) {
      const DivergenceRows result =
          divergence_->Compute(log_teacher_.narrow(0, 0, rows).to(dtype), log_student_.narrow(0, 0, rows).to(dtype));
      EXPECT_EQ(result.value.sizes(), at::IntArrayRef({rows}));
      EXPECT_EQ(result.log_student_gradient.sizes(), at::IntArrayRef({rows, kVocab}));
      EXPECT_EQ(result.value.scalar_type(), dtype);
      EXPECT_EQ(result.log_student_gradient.scalar_type(), dtype);
    }
  }
}

TEST_P(DivergenceContractTest, DistributionsThatDifferAreApart) {
  EXPECT_GT(divergence_->Compute(log_teacher_, log_student_).value.min().item<double>(), 1e-3);
}

TEST_P(DivergenceContractTest, EqualDistributionsGiveZeroAndNoGradientOfTheLogits) {
  for (const double size : {0.0, 3.0, 30.0}) {
    const at::Tensor log = LogSoftmax(RandomLogits("equal", kRows, kVocab, size));
    const DivergenceRows rows = divergence_->Compute(log, log);
    EXPECT_LT(Largest(rows.value), 1e-14) << size;
    EXPECT_LT(Largest(LogitGradient(rows, log)), 1e-14) << size;
    const at::Tensor rounded = log.to(at::kFloat);
    const DivergenceRows floats = divergence_->Compute(rounded, rounded);
    EXPECT_LT(Largest(floats.value), 1e-7) << size;
    EXPECT_LT(Largest(LogitGradient(floats, rounded)), 1e-6) << size;
  }
}

// In another order, and in parts.
TEST_P(DivergenceContractTest, ARowDependsOnThatRowAlone) {
  const DivergenceRows whole = divergence_->Compute(log_teacher_, log_student_);
  const at::Tensor order = at::tensor(std::vector<int64_t>{4, 0, 6, 2, 5, 1, 3});
  const DivergenceRows turned =
      divergence_->Compute(log_teacher_.index_select(0, order), log_student_.index_select(0, order));
  ExpectNear(turned, whole.value.index_select(0, order), whole.log_student_gradient.index_select(0, order), 1e-14);
  for (const auto& [start, length] : std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {3, 1}, {4, kRows - 4}}) {
    const DivergenceRows part =
        divergence_->Compute(log_teacher_.narrow(0, start, length), log_student_.narrow(0, start, length));
    ExpectNear(part, whole.value.narrow(0, start, length), whole.log_student_gradient.narrow(0, start, length), 1e-14);
  }
}

// Vocabularies around the vectors' width, and a real one; columns of a wider tensor are not contiguous.
TEST_P(DivergenceContractTest, Float32IsFloat64ToItsRoundingAtAnyWidth) {
  for (const int64_t vocab : {1, 2, 15, 16, 17, 255, 257, 50021}) {
    const at::Tensor log_teacher = LogSoftmax(RandomLogits("wide teacher", 2, vocab + 1, 8)).to(at::kFloat);
    const at::Tensor log_student = LogSoftmax(RandomLogits("wide student", 2, vocab + 1, 8)).to(at::kFloat);
    const at::Tensor p = log_teacher.narrow(1, 1, vocab), q = log_student.narrow(1, 1, vocab);
    const DivergenceRows floats = divergence_->Compute(p, q);
    const DivergenceRows doubles = divergence_->Compute(p.to(at::kDouble), q.to(at::kDouble));
    SCOPED_TRACE(vocab);
    const double size = std::max({1.0, Largest(doubles.value), Largest(doubles.log_student_gradient)});
    ExpectNear(floats, doubles.value, doubles.log_student_gradient, 1e-6 * size);
  }
}

// An entry that neither can produce is as if it were not there.
TEST_P(DivergenceContractTest, EntriesOfProbabilityZeroOnBothSidesAddNothing) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const double zero : {-kInfinity, -1e4}) {
      const at::Tensor p = log_teacher_.to(dtype), q = log_student_.to(dtype);
      const at::Tensor nothing = at::full({kRows, 5}, zero, p.options());
      const DivergenceRows whole = divergence_->Compute(p, q);
      const DivergenceRows padded = divergence_->Compute(at::cat({p, nothing}, 1), at::cat({q, nothing}, 1));
      SCOPED_TRACE(zero);
      ExpectNear({.value = padded.value, .log_student_gradient = padded.log_student_gradient.narrow(1, 0, kVocab)},
                 whole.value, whole.log_student_gradient, 1e-6);
      EXPECT_LT(Largest(padded.log_student_gradient.narrow(1, kVocab, 5)), 1e-30) << zero;
    }
  }
}

// One entry takes everything, on both sides, on one, or another on each; or one entry gets nothing.
TEST_P(DivergenceContractTest, LogitsOfTenThousandGiveFiniteValuesAndGradients) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    at::Tensor z_p = RandomLogits("teacher", kRows, kVocab), z_q = RandomLogits("student", kRows, kVocab);
    z_p[0][3] = z_q[0][3] = z_p[1][3] = z_q[2][3] = 1e4;
    z_p[3][4] = z_q[3][5] = 1e4;
    z_p[4][4] = z_q[5][4] = z_p[6][4] = z_q[6][4] = -1e4;
    const at::Tensor log_teacher = LogSoftmax(z_p).to(dtype), log_student = LogSoftmax(z_q).to(dtype);
    const DivergenceRows rows = divergence_->Compute(log_teacher, log_student);
    EXPECT_TRUE(AllFinite(rows));
    EXPECT_TRUE(at::isfinite(LogitGradient(rows, log_student)).all().item<bool>());
    EXPECT_GT(rows.value.min().item<double>(), -1e-7);
  }
}

// What is infinite may be infinite, but no NaN, which would hide it.
TEST_P(DivergenceContractTest, EntriesThatOneSideCannotProduceGiveNoNan) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    at::Tensor z_p = RandomLogits("teacher", kRows, kVocab), z_q = RandomLogits("student", kRows, kVocab);
    z_p[0][3] = z_q[1][3] = z_p[2][3] = z_q[2][3] = z_p[3][4] = z_q[3][5] = -kInfinity;
    const DivergenceRows rows = divergence_->Compute(LogSoftmax(z_p).to(dtype), LogSoftmax(z_q).to(dtype));
    EXPECT_FALSE(AnyNan(rows));
    EXPECT_GE(rows.value.min().item<double>(), 0);
    // Row 2 lacks the same on both sides; the rows behind 3 lack nothing.
    EXPECT_TRUE(std::isfinite(rows.value[2].item<double>()));
    EXPECT_TRUE(at::isfinite(rows.log_student_gradient[2]).all().item<bool>());
    EXPECT_TRUE(at::isfinite(rows.value.narrow(0, 4, kRows - 4)).all().item<bool>());
  }
}

TEST_P(DivergenceContractTest, ANanIsNeverTurnedIntoANumber) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const bool teachers : {false, true}) {
      at::Tensor log_teacher = log_teacher_.to(dtype).clone(), log_student = log_student_.to(dtype).clone();
      (teachers ? log_teacher : log_student)[1][20] = nan;
      const at::Tensor value = divergence_->Compute(log_teacher, log_student).value;
      EXPECT_TRUE(std::isnan(value[1].item<double>()));
      EXPECT_TRUE(std::isfinite(value[0].item<double>()));
    }
  }
}

// T^2 D goes to c / 2 Var(z_p - z_q), and its gradient by z_q to c / V times the difference from the mean.
TEST_P(DivergenceContractTest, AtLargeTemperaturesItIsItsCurvatureTimesTheVarianceOfTheLogitsDifference) {
  const at::Tensor z_p = RandomLogits("teacher", kRows, kVocab), z_q = RandomLogits("student", kRows, kVocab);
  constexpr double kTemperature = 1e4;
  const at::Tensor log_student = LogSoftmax(z_q / kTemperature);
  const DivergenceRows rows = divergence_->Compute(LogSoftmax(z_p / kTemperature), log_student);
  const at::Tensor difference = z_q - z_p, centered = difference - difference.mean(-1, /*keepdim=*/true);
  const double curvature = GetParam().curvature;
  const at::Tensor expected = curvature / 2 * (centered * centered).mean(-1);  // [C]
  EXPECT_LT(Largest(kTemperature * kTemperature * rows.value / expected - 1), 2e-3);
  const at::Tensor gradient = kTemperature * LogitGradient(rows, log_student);
  EXPECT_LT(Largest(gradient - curvature / kVocab * centered), 2e-3 * curvature / kVocab * Largest(centered));
}

TEST_P(DivergenceContractTest, RefusesAKeyThatItDoesNotDeclareAndNamesIt) {
  EXPECT_STATUS(MakeDivergence(GetParam().name, WithNumber({}, "no_such_key", 1)), absl::StatusCode::kInvalidArgument,
                "no_such_key");
  EXPECT_NE(GetParam().summary, "");
}

INSTANTIATE_TEST_SUITE_P(EveryDivergence, DivergenceContractTest, ::testing::ValuesIn(ListDivergences()),
                         [](const auto& info) { return info.param.name; });

// --- What each of the list is ---

// p = (1/2, 1/2), q = (1/4, 3/4).
at::Tensor TwoEntries(double first) {
  return at::tensor(std::vector<double>{std::log(first), std::log(1 - first)}).unsqueeze(0);
}

double OfTwoEntries(const std::string& name, const Section& options = {}) {
  const absl::StatusOr<std::unique_ptr<Divergence>> divergence = MakeDivergence(name, options);
  if (!divergence.ok()) return std::numeric_limits<double>::quiet_NaN();
  return (*divergence)->Compute(TwoEntries(0.5), TwoEntries(0.25)).value.item<double>();
}

// KL of two distributions over two entries, by the probabilities of the first.
double Kl(double p, double q) {
  return p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q));
}

TEST(DivergencesIncTest, TheFormulasByHand) {
  EXPECT_NEAR(OfTwoEntries("forward_kl"), 0.5 * std::log(4.0 / 3), 1e-14);
  EXPECT_NEAR(OfTwoEntries("reverse_kl"), 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-14);
  EXPECT_NEAR(OfTwoEntries("jensen_shannon"), 0.5 * Kl(0.5, 0.375) + 0.5 * Kl(0.25, 0.375), 1e-14);
  EXPECT_NEAR(OfTwoEntries("skewed_kl"), Kl(0.5, 0.275), 1e-14);
  EXPECT_NEAR(OfTwoEntries("skewed_reverse_kl"), Kl(0.25, 0.475), 1e-14);
}

TEST(DivergencesIncTest, TheOptionsReachTheFormulas) {
  EXPECT_NEAR(OfTwoEntries("jensen_shannon", WithNumber({}, "beta", 0.2)), 0.2 * Kl(0.5, 0.3) + 0.8 * Kl(0.25, 0.3),
              1e-14);
  EXPECT_NEAR(OfTwoEntries("skewed_kl", WithNumber({}, "skew", 0.6)), Kl(0.5, 0.4), 1e-14);
  EXPECT_NEAR(OfTwoEntries("skewed_reverse_kl", WithNumber({}, "skew", 0.6)), Kl(0.25, 0.35), 1e-14);
  EXPECT_NEAR(OfTwoEntries("skewed_kl", WithNumber({}, "skew", 0)), OfTwoEntries("forward_kl"), 1e-14);
  EXPECT_NEAR(OfTwoEntries("skewed_reverse_kl", WithNumber({}, "skew", 0)), OfTwoEntries("reverse_kl"), 1e-14);
}

// The constants of the limit at large temperatures for other options than the default, against KL's.
TEST(DivergencesIncTest, NearEqualityTheyAreKlTimesTheirCurvature) {
  const at::Tensor log_teacher = TwoEntries(0.5), log_student = TwoEntries(0.5001);
  const auto value = [&](const std::string& name, const Section& options) {
    return (*MakeDivergence(name, options))->Compute(log_teacher, log_student).value.item<double>();
  };
  const double kl = value("forward_kl", {});
  for (const double share : {0.1, 0.3, 0.9}) {
    EXPECT_NEAR(value("jensen_shannon", WithNumber({}, "beta", share)) / kl, share * (1 - share), 1e-3) << share;
    for (const char* name : {"skewed_kl", "skewed_reverse_kl"})
      EXPECT_NEAR(value(name, WithNumber({}, "skew", share)) / kl, (1 - share) * (1 - share), 1e-3) << share;
  }
}

// arXiv:2306.13649 section 2: JSD(beta) / beta -> KL(p || q) for beta -> 0, JSD(beta) / (1 - beta) -> KL(q || p) for 1.
TEST(DivergencesIncTest, JensenShannonGoesToBothKls) {
  const double near_zero = OfTwoEntries("jensen_shannon", WithNumber({}, "beta", 1e-5)) / 1e-5;
  const double near_one = OfTwoEntries("jensen_shannon", WithNumber({}, "beta", 1 - 1e-5)) / 1e-5;
  EXPECT_NEAR(near_zero, OfTwoEntries("forward_kl"), 1e-4);
  EXPECT_NEAR(near_one, OfTwoEntries("reverse_kl"), 1e-4);
}

// p = (1, 0), q = (0, 1): nothing in common.
TEST(DivergencesIncTest, WithNothingInCommonTheKlsAreInfiniteAndTheOthersAtTheirBounds) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor log_teacher = at::tensor(std::vector<double>{0, -kInfinity}).unsqueeze(0).to(dtype);
    const at::Tensor log_student = at::tensor(std::vector<double>{-kInfinity, 0}).unsqueeze(0).to(dtype);
    const auto rows = [&](const std::string& name, const Section& options = {}) {
      return (*MakeDivergence(name, options))->Compute(log_teacher, log_student);
    };
    EXPECT_EQ(rows("forward_kl").value.item<double>(), kInfinity);
    EXPECT_EQ(rows("reverse_kl").value.item<double>(), kInfinity);
    EXPECT_EQ(rows("reverse_kl").log_student_gradient[0][1].item<double>(), kInfinity);
    EXPECT_EQ(rows("skewed_kl", WithNumber({}, "skew", 0)).value.item<double>(), kInfinity);
    EXPECT_EQ(rows("skewed_reverse_kl", WithNumber({}, "skew", 0)).value.item<double>(), kInfinity);
    EXPECT_NEAR(rows("skewed_kl").value.item<double>(), -std::log(0.1), 1e-6);
    EXPECT_NEAR(rows("skewed_reverse_kl").value.item<double>(), -std::log(0.1), 1e-6);
    EXPECT_NEAR(rows("jensen_shannon").value.item<double>(), std::log(2), 1e-6);
    for (const char* name : {"skewed_kl", "skewed_reverse_kl", "jensen_shannon"}) EXPECT_TRUE(AllFinite(rows(name)));
  }
}

// As law 4 of docs/design.md has it: however rows are shared out over chunks and ranks, in both dtypes.
TEST(DivergencesIncTest, TheBitsOfARowAreItsOwn) {
  for (const char* name : {"forward_kl", "reverse_kl", "jensen_shannon", "skewed_kl", "skewed_reverse_kl"}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const at::Tensor log_teacher = LogSoftmax(RandomLogits("teacher", 3, 501)).to(dtype);
      const at::Tensor log_student = LogSoftmax(RandomLogits("student", 3, 501)).to(dtype);
      ASSERT_OK_AND_ASSIGN(const auto divergence, MakeDivergence(name));
      const DivergenceRows whole = divergence->Compute(log_teacher, log_student);
      for (int64_t row = 0; row < 3; ++row) {
        const DivergenceRows alone = divergence->Compute(log_teacher.narrow(0, row, 1), log_student.narrow(0, row, 1));
        EXPECT_TRUE(alone.value.equal(whole.value.narrow(0, row, 1))) << name;
        EXPECT_TRUE(alone.log_student_gradient.equal(whole.log_student_gradient.narrow(0, row, 1))) << name;
      }
    }
  }
}

TEST(DivergencesIncTest, AnOptionOutOfRangeIsRefusedByItsKeyAndAnUnknownDivergenceByItsName) {
  for (const double beta : {0.0, 1.0, -0.5}) {
    EXPECT_STATUS(MakeDivergence("jensen_shannon", WithNumber({}, "beta", beta)), absl::StatusCode::kInvalidArgument,
                  "divergence jensen_shannon: configuration: beta: is ");
  }
  for (const char* name : {"skewed_kl", "skewed_reverse_kl"}) {
    EXPECT_STATUS(MakeDivergence(name, WithNumber({}, "skew", 1)), absl::StatusCode::kInvalidArgument,
                  "skew: is 1; it must be between 0 and 0.999999");
  }
  EXPECT_STATUS(MakeDivergence("forwad_kl"), absl::StatusCode::kInvalidArgument,
                "there is no divergence forwad_kl; did you mean forward_kl?");
}

}  // namespace
}  // namespace grpo
