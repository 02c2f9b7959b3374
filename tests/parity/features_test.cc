// The loss features against feature_goldens.json: the formula in plain PyTorch float64
// (tools/parity/make_feature_goldens).
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "tests/parity/golden_tensors.h"
#include "tests/parity/goldens.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

using nlohmann::json;

at::Tensor Floats(const json& rows) {
  return Matrix(rows).to(at::kFloat);
}

ModelConfig Shape(int64_t hidden_size, int64_t num_layers) {
  ModelConfig config;
  config.hidden_size = hidden_size;
  config.num_layers = num_layers;
  return config;
}

// Within 1e-5 of the largest.
void ExpectNear(const at::Tensor& computed, const at::Tensor& expected) {
  const double largest = expected.abs().max().item<double>();
  EXPECT_LT((computed.to(at::kDouble) - expected).abs().max().item<double>(), 1e-5 * largest);
}

void ExpectParity(const json& golden, const std::vector<std::pair<int64_t, int64_t>>& pairs) {
  const std::string keys =
      absl::StrCat("{teacher: teacher, pairs: [{student: 1, teacher: 2}, {student: 2, teacher: 4}], mse_weight: ",
                   golden["mse_weight"].dump(), ", cosine_weight: ", golden["cosine_weight"].dump(), "}");
  ASSERT_OK_AND_ASSIGN(const Section options, ParseConfigText(keys, "golden"));
  ASSERT_OK_AND_ASSIGN(const auto loss, MakeLoss("features", options));
  const ModelConfig student = Shape(Matrix(golden["student"][0]).size(1), 2);
  const ModelConfig teacher = Shape(Matrix(golden["teacher"][0]).size(1), 4);
  ASSERT_OK(loss->Begin({.policy = student, .frozen = {{"teacher", &teacher}}}));
  std::map<std::string, TargetOutputs> outputs;
  for (size_t i = 0; i < pairs.size(); ++i) {
    outputs[""].layers[pairs[i].first] = Floats(golden["student"][i]).requires_grad_(true);
    outputs["teacher"].layers[pairs[i].second] = Floats(golden["teacher"][i]);
  }
  const NamedTensors projections = loss->parameters();
  ASSERT_EQ(projections.size(), golden["projections"].is_null() ? 0 : pairs.size());
  for (size_t i = 0; i < projections.size(); ++i) {
    const at::NoGradGuard no_grad;
    at::Tensor projection = projections[i].second;
    projection.copy_(Floats(golden["projections"][i]));
  }
  const std::vector<double> weights = golden["weights"];
  const std::map<std::string, at::Tensor> streams = {{stream::kDistillWeight, at::tensor(weights, at::kFloat)}};
  const int64_t num_targets = static_cast<int64_t>(weights.size());
  const at::Tensor logprob = at::zeros({num_targets}), sequence = at::zeros({num_targets}, at::kLong);
  const at::Tensor value = loss->Compute({.policy_logprob = logprob,
                                          .streams = streams,
                                          .sequence_of_target = sequence,
                                          .group_of_target = sequence,
                                          .outputs = outputs})
                               .loss;
  value.backward();
  const double expected = golden["loss"];
  EXPECT_NEAR(value.item<double>(), expected, 1e-6 * std::max(1.0, expected));
  for (size_t i = 0; i < pairs.size(); ++i) {
    ExpectNear(outputs[""].layers[pairs[i].first].grad(), Matrix(golden["student_gradient"][i]));
    if (!projections.empty()) ExpectNear(projections[i].second.grad(), Matrix(golden["projection_gradient"][i]));
  }
}

TEST(FeaturesParityTest, IsTheFormulaInPyTorchFloat64) {
  const json goldens = ReadGoldens("feature_goldens.json");
  ASSERT_TRUE(goldens.is_object());
  const std::vector<std::pair<int64_t, int64_t>> pairs = goldens["pairs"];
  ASSERT_EQ(goldens["cases"].size(), 6);
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(absl::StrCat("mse ", golden["mse_weight"].dump(), " cosine ", golden["cosine_weight"].dump(),
                              golden["projections"].is_null() ? " equal widths" : " projected"));
    ExpectParity(golden, pairs);
  }
}

}  // namespace
}  // namespace grpo
