// The loss soft_labels, as a trainer computes it (float32, chunk by chunk, gradients on the way), against the goldens of
// divergence_goldens.json that are of more than a divergence: temperature and its square, the teacher's top k with each
// tail, and the mixture with cross-entropy. The output head is the identity, so the hidden states are the logits.
#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "model/lm_head.h"
#include "tests/parity/golden_tensors.h"
#include "tests/parity/goldens.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

using nlohmann::json;

const json& Goldens() {
  static const auto* goldens = new json(ReadGoldens("divergence_goldens.json"));
  return *goldens;
}

struct Result {
  double value;
  at::Tensor gradient;  // [M, V], by the student's logits
};

// The sum of the terms over rows [first, first + count), each of weight 1.
Result Compute(const std::vector<LossTerm>& terms, int64_t first, int64_t count, int64_t head_chunk_bytes) {
  const json& inputs = Goldens()["inputs"];
  const auto rows = [&](const char* name) {
    return Matrix(inputs[name]).narrow(0, first, count).to(at::kFloat).contiguous();
  };
  const at::Tensor student = rows("student_logits").requires_grad_(true);
  const at::Tensor identity = at::eye(student.size(1));
  const std::vector<int64_t> labels = inputs["labels"];
  const at::Tensor targets = at::tensor(labels).narrow(0, first, count);
  const std::map<std::string, TargetOutputs> outputs = {
      {"", {.hidden = student, .head = identity, .layers = {}}},
      {"teacher", {.hidden = rows("teacher_logits"), .head = identity, .layers = {}}}};
  const at::Tensor policy_logprob = TargetLogprobs(student, identity, targets, /*temperature=*/1.0);
  const std::map<std::string, at::Tensor> streams = {{stream::kDistillWeight, at::ones({count})},
                                                     {stream::kCeWeight, at::ones({count})}};
  const at::Tensor sequence = at::zeros({count}, at::kLong);
  at::Tensor loss = at::zeros({});
  const std::vector<std::unique_ptr<Loss>> losses = *MakeLosses(terms);
  for (const auto& term : losses) {
    loss = loss + term->Compute({.policy_logprob = policy_logprob,
                                 .streams = streams,
                                 .sequence_of_target = sequence,
                                 .group_of_target = sequence,
                                 .outputs = outputs,
                                 .head_chunk_bytes = head_chunk_bytes})
                      .loss;
  }
  loss.backward();
  return {.value = loss.item<double>(), .gradient = student.grad().to(at::kDouble)};
}

// A golden's soft labels in our keys; `more` are further keys.
LossTerm SoftLabels(const json& golden, const std::string& more = "") {
  std::string options;
  for (const auto& [key, value] : golden["options"].items()) absl::StrAppend(&options, ", ", key, ": ", value.dump());
  const std::string keys =
      absl::StrCat("{teachers: [{policy: teacher, temperature: {start: ", golden["temperature"].dump(),
                   "}}], divergence: {type: ", golden["divergence"].get<std::string>(), options,
                   "}, temperature_squared: ", golden["temperature_squared"].dump(), more, "}");
  return {.name = "soft_labels", .options = *ParseConfigText(keys, "golden")};
}

// Values within 1e-6, gradients within 1e-5 of the largest; whole, and in chunks of one row.
void ExpectParity(const std::vector<LossTerm>& terms, const json& golden) {
  const at::Tensor expected = Matrix(golden["gradient"]);  // [M, V]
  const int64_t num_rows = expected.size(0);
  const std::vector<double> values = golden["value"];
  for (int64_t row = 0; row < num_rows; ++row) {
    EXPECT_NEAR(Compute(terms, row, 1, kDefaultHeadChunkBytes).value, values[row], 1e-6 * std::max(1.0, values[row]))
        << "row " << row;
  }
  for (const int64_t chunk_bytes : {kDefaultHeadChunkBytes, int64_t{1}}) {
    const at::Tensor difference = Compute(terms, 0, num_rows, chunk_bytes).gradient - expected;
    EXPECT_LT(difference.abs().max().item<double>(), 1e-5 * expected.abs().max().item<double>() + 1e-9) << chunk_bytes;
  }
}

TEST(SoftLabelsParityTest, EveryDivergenceAtEveryTemperatureWithAndWithoutItsSquare) {
  ASSERT_GT(Goldens()["divergences"].size(), 50);
  for (const json& golden : Goldens()["divergences"]) {
    SCOPED_TRACE(absl::StrCat(golden["divergence"].dump(), golden["options"].dump(), " T ",
                              golden["temperature"].dump(), golden["temperature_squared"].dump()));
    ExpectParity({SoftLabels(golden)}, golden);
  }
}

TEST(SoftLabelsParityTest, TheTeachersTopKWithEachTail) {
  const std::map<std::string, std::string> tails = {
      {"drop", "dropped"}, {"renormalize", "renormalised"}, {"bucket", "bucket"}};
  ASSERT_GT(Goldens()["top_k"].size(), 10);
  for (const json& golden : Goldens()["top_k"]) {
    SCOPED_TRACE(absl::StrCat(golden["divergence"].dump(), golden["top_k"].dump(), golden["tail"].dump(), " T ",
                              golden["temperature"].dump()));
    ExpectParity({SoftLabels(golden, absl::StrCat(", top_k: ", golden["top_k"].dump(),
                                                  ", tail: ", tails.at(golden["tail"].get<std::string>())))},
                 golden);
  }
}

TEST(SoftLabelsParityTest, TheMixtureWithCrossEntropy) {
  ASSERT_GT(Goldens()["alpha"].size(), 5);
  for (const json& golden : Goldens()["alpha"]) {
    SCOPED_TRACE(absl::StrCat(golden["divergence"].dump(), " alpha ", golden["alpha"].dump()));
    const Schedule alpha = Schedule::Constant(golden["alpha"]);
    LossTerm soft = SoftLabels(golden);
    soft.coefficient = alpha.OneMinus(1);
    ExpectParity({soft, {.name = "cross_entropy", .coefficient = alpha}}, golden);
  }
}

}  // namespace
}  // namespace grpo
