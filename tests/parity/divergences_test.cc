// Divergences and their gradients with respect to the student's logits against divergence_goldens.json: formulas in
// plain PyTorch float64, DistillKit's KL, and what TRL 1.13's own code computes (tools/parity/make_divergence_goldens).
//
// Temperature, its square and the softmax are applied here, by hand. The goldens `top_k` and `alpha` are of what stands
// around a divergence: soft_labels_test.cc. DistillKit's `sparse` signals treat the tail in ways that we have not.
//
// Where we depart from TRL, by intent: there beta 0 is KL(p || q) and 1 is KL(q || p); here they are divergences of
// their own (trainer/divergence/jensen_shannon.cc). TRL has no T^2.
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "tests/parity/golden_tensors.h"
#include "tests/parity/goldens.h"
#include "trainer/divergence/divergence.h"

namespace grpo {
namespace {

using nlohmann::json;

const json& Goldens() {
  static const auto* goldens = new json(ReadGoldens("divergence_goldens.json"));
  return *goldens;
}

// What a golden asks for, in our terms.
struct Case {
  std::string name;  // in divergences.inc
  Section options;
  double temperature = 1;
  // Of all values and gradients.
  double factor = 1;
  // Rows at the end that TRL masks.
  int64_t masked_rows = 0;
};

struct Result {
  at::Tensor value;     // [C] float64
  at::Tensor gradient;  // [C, V] float64, with respect to the student's logits
};

// log p and log q are rounded to `dtype`, as a head in float32 would have them.
absl::StatusOr<Result> Compute(const Case& wanted, at::ScalarType dtype) {
  ASSIGN_OR_RETURN(const auto divergence, MakeDivergence(wanted.name, wanted.options));
  const json& inputs = Goldens()["inputs"];
  const at::Tensor z_p = Matrix(inputs["teacher_logits"]), z_q = Matrix(inputs["student_logits"]);
  const int64_t num_rows = z_p.size(0) - wanted.masked_rows;
  const auto log_softmax = [&](const at::Tensor& logits) {
    return at::log_softmax(logits.narrow(0, 0, num_rows) / wanted.temperature, -1).to(dtype);
  };
  const at::Tensor log_q = log_softmax(z_q);
  const DivergenceRows rows = divergence->Compute(log_softmax(z_p), log_q);
  const at::Tensor by_log = rows.log_student_gradient.to(at::kDouble);
  const at::Tensor by_logit = by_log - at::exp(log_q) * by_log.sum(-1, /*keepdim=*/true);
  return Result{.value = wanted.factor * rows.value.to(at::kDouble),
                .gradient = wanted.factor / wanted.temperature * by_logit};
}

double Largest(const at::Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

// Values within 1e-6, gradients within 1e-5 of the row's largest; of all rows' largest where the golden was computed in
// float32, which blurs the row in which teacher and student nearly agree.
void ExpectParity(const Result& result, const json& golden, bool in_float32 = false) {
  const at::Tensor value = at::tensor(golden["value"].get<std::vector<double>>(), at::kDouble);
  ASSERT_EQ(result.value.numel(), value.numel());
  EXPECT_LT(Largest(result.value - value), 1e-6);
  const at::Tensor expected = Matrix(golden["gradient"]);  // [C, V]
  for (int64_t row = 0; row < expected.size(0); ++row) {
    // TRL's masked rows have none.
    if (row >= result.gradient.size(0)) {
      EXPECT_EQ(Largest(expected[row]), 0) << "row " << row;
      continue;
    }
    const double scale = Largest(in_float32 ? expected : expected[row]);
    EXPECT_LT(Largest(result.gradient[row] - expected[row]), 1e-5 * scale) << "row " << row;
  }
}

Section ToOptions(const json& options) {
  Section section;
  for (const auto& [key, value] : options.items()) section = WithNumber(section, key, value.get<double>());
  return section;
}

// Every one of the list is there, with each of its options at more than one value.
TEST(DivergenceParityTest, TheFormulasInPyTorchFloat64) {
  const json& cases = Goldens()["divergences"];
  ASSERT_GT(cases.size(), 50);
  std::vector<std::string> names;
  for (const json& golden : cases) {
    SCOPED_TRACE(absl::StrCat(golden["divergence"].dump(), golden["options"].dump(), " T ",
                              golden["temperature"].dump(), golden["temperature_squared"].dump()));
    const double temperature = golden["temperature"];
    const bool squared = golden["temperature_squared"];
    const Case wanted = {.name = golden["divergence"],
                         .options = ToOptions(golden["options"]),
                         .temperature = temperature,
                         .factor = squared ? temperature * temperature : 1};
    names.push_back(wanted.name);
    ASSERT_OK_AND_ASSIGN(const Result result, Compute(wanted, at::kDouble));
    ExpectParity(result, golden);
  }
  for (const DivergenceInfo& info : ListDivergences()) EXPECT_THAT(names, ::testing::Contains(info.name));
}

// From log-probabilities in float32, without the factor, which would enlarge their rounding. The row in which teacher
// and student nearly agree has a gradient that is all difference, and is left to float64.
TEST(DivergenceParityTest, TheSameFromFloat32) {
  for (const json& golden : Goldens()["divergences"]) {
    if (golden["temperature_squared"].get<bool>()) continue;
    SCOPED_TRACE(
        absl::StrCat(golden["divergence"].dump(), golden["options"].dump(), " T ", golden["temperature"].dump()));
    const Case wanted = {
        .name = golden["divergence"], .options = ToOptions(golden["options"]), .temperature = golden["temperature"]};
    ASSERT_OK_AND_ASSIGN(const Result result, Compute(wanted, at::kFloat));
    const at::Tensor value = at::tensor(golden["value"].get<std::vector<double>>(), at::kDouble);
    EXPECT_LT(Largest(result.value - value), 1e-6);
    const at::Tensor expected = Matrix(golden["gradient"]);
    EXPECT_LT(Largest(result.gradient - expected), 1e-5 * Largest(expected));
  }
}

// T^2 KL(p || q), mean over the tokens.
TEST(DivergenceParityTest, TheKlOfDistillKit) {
  int num_dense = 0;
  for (const json& golden : Goldens()["distillkit"]["cases"]) {
    if (golden["signal"] != "dense") continue;
    ++num_dense;
    const double temperature = golden["temperature"];
    ASSERT_OK_AND_ASSIGN(
        Result result,
        Compute({.name = "forward_kl", .temperature = temperature, .factor = temperature * temperature}, at::kDouble));
    result.gradient = result.gradient / result.value.numel();
    result.value = result.value.mean().view({1});
    ExpectParity(result, golden);
  }
  EXPECT_EQ(num_dense, 3);
}

// A suite of goldens of TRL: GKDTrainer.generalized_jsd_loss, and the chunked loss of DistillationTrainer, whose own
// code is float32.
class TrlDivergenceTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TrlDivergenceTest, IsTheMeanOverTheTokensThatAreNotMasked) {
  const json& cases = Goldens()[GetParam()];
  ASSERT_EQ(cases.size(), 15);
  for (const json& golden : cases) {
    const double beta = golden["beta"];
    SCOPED_TRACE(absl::StrCat("beta ", beta, " T ", golden["temperature"].dump()));
    Case wanted = {.name = beta == 0   ? "forward_kl"
                           : beta == 1 ? "reverse_kl"
                                       : "jensen_shannon",
                   .temperature = golden["temperature"],
                   .masked_rows = golden["masked_rows"]};
    if (wanted.name == "jensen_shannon") wanted.options = WithNumber({}, "beta", beta);
    ASSERT_OK_AND_ASSIGN(Result result, Compute(wanted, at::kDouble));
    result.gradient = result.gradient / result.value.numel();
    result.value = result.value.mean().view({1});
    ExpectParity(result, golden, /*in_float32=*/GetParam() == std::string("trl_distillation"));
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, TrlDivergenceTest, ::testing::Values("trl", "trl_distillation"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace grpo
