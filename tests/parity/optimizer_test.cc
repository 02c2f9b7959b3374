// Learning rates against PyTorch's schedulers, and steps against its Adam and AdamW: optimizer_goldens.json is what
// they made of fixed gradients in float64 (tools/parity/make_optimizer_goldens).
//
// Where we depart from PyTorch, by intent: momentum (here beta1) does not cycle with one_cycle's learning rate.
#include <ATen/ops/tensor.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/status_macros.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "tests/parity/goldens.h"
#include "trainer/optim/adamw.h"

namespace grpo {
namespace {

using nlohmann::json;

// Relative. Of a value that five steps in float32 have moved by some per cent.
constexpr double kTolerance = 1e-6;
// Relative. The goldens have twelve digits.
constexpr double kRateTolerance = 1e-10;

const json& Goldens() {
  static const auto* goldens = new json(ReadGoldens("optimizer_goldens.json"));
  return *goldens;
}

absl::StatusOr<OptimizerOptions> ToOptions(const json& keys) {
  OptimizerOptions options;
  ASSIGN_OR_RETURN(const Section section, ParseConfigText(keys.dump(), "optimizer"));
  RETURN_IF_ERROR(LoadOptions(section, &options));
  return options;
}

// Of one row or of several.
at::Tensor ToTensor(const json& values) {
  if (!values[0].is_array()) return at::tensor(values.get<std::vector<double>>(), at::kFloat);
  std::vector<double> flat;
  for (const json& row : values) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(flat, at::kFloat).view({static_cast<int64_t>(values.size()), -1});
}

void ExpectNear(const at::Tensor& actual, const json& golden) {
  const at::Tensor expected = ToTensor(golden).flatten(), flat = actual.detach().flatten();
  ASSERT_EQ(flat.numel(), expected.numel());
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const double want = expected[i].item<double>();
    EXPECT_NEAR(flat[i].item<double>(), want, kTolerance * std::abs(want)) << "value " << i;
  }
}

TEST(OptimizerParityTest, TheGoldensAreThere) {
  ASSERT_TRUE(Goldens().is_object()) << "cannot read tests/parity/optimizer_goldens.json";
  EXPECT_EQ(Goldens()["versions"]["torch"], "2.13.0");
  EXPECT_EQ(Goldens()["schedules"].size(), 7);
  EXPECT_EQ(Goldens()["steps"].size(), 4);
}

TEST(OptimizerParityTest, LearningRatesAreThoseOfPyTorchsSchedulers) {
  for (const json& golden : Goldens()["schedules"]) {
    SCOPED_TRACE(golden["keys"].dump());
    ASSERT_OK_AND_ASSIGN(const OptimizerOptions options, ToOptions(golden["keys"]));
    const int64_t num_steps = golden["num_steps"];
    ASSERT_EQ(golden["learning_rates"].size(), num_steps);
    for (int64_t step = 0; step < num_steps; ++step) {
      const double want = golden["learning_rates"][step];
      EXPECT_NEAR(LearningRateAt(options, step, num_steps), want, kRateTolerance * want) << "step " << step;
    }
  }
}

TEST(OptimizerParityTest, StepsAreThoseOfPyTorchsAdamAndAdamWWithTheirParameterGroups) {
  for (const auto& [name, golden] : Goldens()["steps"].items()) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(const OptimizerOptions options, ToOptions(golden["keys"]));
    at::Tensor matrix = ToTensor(Goldens()["parameters"]["matrix"]).requires_grad_(true);
    at::Tensor vector = ToTensor(Goldens()["parameters"]["vector"]).requires_grad_(true);
    AdamW optimizer({{"vector", vector}, {"matrix", matrix}}, options);
    ASSERT_EQ(golden["after"].size(), 5);
    for (size_t step = 0; step < golden["after"].size(); ++step) {
      SCOPED_TRACE(step);
      matrix.mutable_grad() = ToTensor(Goldens()["gradients"][step]["matrix"]);
      vector.mutable_grad() = ToTensor(Goldens()["gradients"][step]["vector"]);
      optimizer.Step(Goldens()["learning_rates"][step]);
      ExpectNear(matrix, golden["after"][step]["matrix"]);
      ExpectNear(vector, golden["after"][step]["vector"]);
    }
  }
}

}  // namespace
}  // namespace grpo
