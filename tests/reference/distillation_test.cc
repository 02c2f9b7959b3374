// Every way of distilling, from traces or groups through algorithm, losses, packing, loop and optimizer: the loss and
// its gradients are those of the formulas written out in plain ATen, sequence by sequence; and nothing changes with the
// size of chunks and micro-batches, activation checkpointing, the order of the data or the number of ranks
// (docs/design.md law 4).
#include <ATen/TensorOperators.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <variant>

#include "common/status_testing.h"
#include "model/attention.h"
#include "tests/reference/trainee.h"
#include "trainer/batch/streams.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

constexpr double kTolerance = 1e-5;

class DistillationTest : public ::testing::TestWithParam<TraineeCase> {
 protected:
  Trainee::Outcome Learn(Trainee::Switches switches, bool reversed = false) {
    const auto alone = Collectives::SingleRank();
    Trainee trainee(GetParam().algorithm, GetParam().keys, switches, alone.get());
    StepInput input = InputFor(*trainee.algorithm, 21);
    if (reversed) {
      if (auto* const traces = std::get_if<TracesInput>(&input)) {
        std::reverse(traces->traces.begin(), traces->traces.end());
      } else {
        auto& groups = std::get<RolloutInput>(input);
        std::reverse(groups.groups.begin(), groups.groups.end());
        std::reverse(groups.traces.begin(), groups.traces.end());
      }
    }
    return trainee.Learn(input, *alone);
  }
  static void ExpectSame(const Trainee::Outcome& a, const Trainee::Outcome& b) {
    ASSERT_EQ(a.weights.size(), b.weights.size());
    for (size_t i = 0; i < a.weights.size(); ++i)
      EXPECT_LE(RelativeDifference(a.weights[i], b.weights[i]), kTolerance) << "parameter " << i;
    for (const auto& [name, value] : b.metrics) {
      if (name.ends_with("_seconds")) continue;
      EXPECT_NEAR(a.metrics.at(name), value, 3 * kTolerance * (1 + std::abs(value))) << name;
    }
  }
};

TEST_P(DistillationTest, NeitherChunksNorMicroBatchesNorOrderChangeAnything) {
  const Trainee::Outcome whole = Learn({});
  // One row of logits at a time.
  ExpectSame(Learn({.head_chunk_bytes = 1}), whole);
  ExpectSame(Learn({.micro_batch_tokens = 9}), whole);
  ExpectSame(Learn({.micro_batch_tokens = 14, .activation_checkpointing = true}), whole);
  ExpectSame(Learn({}, /*reversed=*/true), whole);
}

TEST_P(DistillationTest, ThreeRanksLearnWhatOneDoes) {
  const Trainee::Outcome alone = Learn({});
  for (const int num_ranks : {2, 3}) {
    RunRanks(num_ranks, [&](Collectives& collectives) {
      Trainee trainee(GetParam().algorithm, GetParam().keys, {.micro_batch_tokens = 12}, &collectives);
      const Trainee::Outcome outcome = trainee.Learn(InputFor(*trainee.algorithm, 21), collectives);
      for (size_t i = 0; i < alone.weights.size(); ++i)
        EXPECT_LE(RelativeDifference(outcome.weights[i], alone.weights[i]), kTolerance) << "parameter " << i;
    });
  }
}

TEST_P(DistillationTest, TheLossFallsWhereTheTeacherIsFollowed) {
  const auto alone = Collectives::SingleRank();
  Trainee trainee(GetParam().algorithm, GetParam().keys, {}, alone.get());
  const StepInput input = InputFor(*trainee.algorithm, 22);
  std::vector<double> losses;
  for (int step = 0; step < 30; ++step)
    losses.push_back(trainee.loop->Step(*trainee.algorithm->Prepare(input), 1e-2)->metrics.at("loss"));
  EXPECT_LT(losses.back(), losses.front());
}

INSTANTIATE_TEST_SUITE_P(EveryWay, DistillationTest, ::testing::ValuesIn(DistillationCases()),
                         [](const auto& info) { return info.param.name; });

// --- The formulas written out ---

// Of one trace: what a model says behind each token and what leaves its layers.
struct Said {
  at::Tensor logits;  // [T, V]
  LayerOutputs layers;
};
Said Says(const Transformer& model, const TokenizedTrace& trace, LayerOutputs layers) {
  std::vector<int64_t> ids(trace.prompt_ids.begin(), trace.prompt_ids.end()), positions;
  ids.insert(ids.end(), trace.completion_ids.begin(), trace.completion_ids.end());
  for (size_t t = 0; t < ids.size(); ++t) positions.push_back(static_cast<int64_t>(t));
  PackedAttention attention({static_cast<int64_t>(ids.size())});
  Said said = {.logits = {}, .layers = std::move(layers)};
  said.logits = model.Logits(model.Forward(at::tensor(ids), at::tensor(positions), attention, nullptr, &said.layers));
  return said;
}

// 0.3 cross-entropy + 0.7 * 4 KL(p || q) at temperature 2 + features of three pairs, token mean.
at::Tensor WrittenOut(const Trainee& trainee, const std::vector<TokenizedTrace>& traces) {
  const std::vector<std::pair<int64_t, int64_t>> pairs = {{1, 2}, {2, 4}};
  at::Tensor loss = at::zeros({});
  double num_tokens = 0;
  for (const TokenizedTrace& trace : traces) {
    const Said student = Says(*trainee.student, trace, {{1, {}}, {2, {}}});
    const Said teacher = Says(*trainee.teacher, trace, {{2, {}}, {4, {}}});
    for (size_t t = 0; t < trace.completion_ids.size(); ++t, ++num_tokens) {
      const auto row = static_cast<int64_t>(trace.prompt_ids.size() + t) - 1;
      loss = loss - 0.3 * at::log_softmax(student.logits[row], -1)[trace.completion_ids[t]];
      const at::Tensor log_p = at::log_softmax(teacher.logits[row].detach() / 2, -1);
      loss = loss + 0.7 * 4 * (at::exp(log_p) * (log_p - at::log_softmax(student.logits[row] / 2, -1))).sum();
      for (size_t i = 0; i < pairs.size(); ++i) {
        const at::Tensor of_student = trainee.own[i].second.matmul(student.layers.at(pairs[i].first)[row]);
        const at::Tensor wanted = teacher.layers.at(pairs[i].second)[row].detach();
        loss = loss +
               0.5 * ((of_student - wanted).square().mean() + 0.5 * (1 - at::cosine_similarity(of_student, wanted, 0)));
      }
    }
  }
  return loss / num_tokens;
}

TEST(DistillationFormulaTest, SoftLabelsAndFeaturesEqualTheFormulasWrittenOut) {
  const char* const keys =
      "{alpha: {start: 0.3}, teachers: [{policy: teacher, temperature: {start: 2}}], features: {teacher: teacher, "
      "cosine_weight: 0.5}}";
  const auto alone = Collectives::SingleRank();
  Trainee fast("logit_distill", keys, {.micro_batch_tokens = 16, .head_chunk_bytes = 400}, alone.get());
  Trainee naive("logit_distill", keys, {}, alone.get());
  const StepInput input = InputFor(*fast.algorithm, 23);
  const at::Tensor loss = WrittenOut(naive, std::get<TracesInput>(input).traces);
  loss.backward();
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, fast.algorithm->Prepare(input));
  ASSERT_OK_AND_ASSIGN(const StepResult result, fast.loop->Step(batch, /*learning_rate=*/0.0));
  EXPECT_NEAR(result.metrics.at("loss"), loss.item<double>(), 1e-5 * loss.item<double>());
  const std::vector<at::Tensor> gradients = fast.optimizer->Gradients(), expected = naive.optimizer->Gradients();
  ASSERT_EQ(gradients.size(), expected.size());
  for (size_t i = 0; i < gradients.size(); ++i)
    EXPECT_LE(RelativeDifference(gradients[i], expected[i]), kTolerance) << "parameter " << i;
  // Projections learn, and there is one for each layer of the student.
  ASSERT_EQ(fast.own.size(), 2u);
  EXPECT_GT(expected.back().norm().item<double>(), 0);
}

// The sampled form's gradient is -A_t of the sampled token at the first update, by hand.
TEST(DistillationFormulaTest, TheSampledTokenIsAPolicyGradientOfTheDifferenceToTheTeacher) {
  ASSERT_OK_AND_ASSIGN(const auto loss, MakeLoss("sampled_reverse_kl"));
  at::Tensor policy_logprob = at::tensor({-1.0, -2.0, -0.5}, at::kFloat).requires_grad_(true);
  const std::map<std::string, at::Tensor> streams = {
      {stream::kSampleLogprob, at::tensor({-1.0f, -2.0f, stream::kNotSampled})},
      {stream::kTeacherLogprob, at::tensor({-3.0f, -1.5f, -1.0f})},
      {stream::kDistillWeight, at::tensor({0.5f, 0.5f, 0.0f})}};
  const at::Tensor sequence = at::zeros({3}, at::kLong);
  const LossOutput output = loss->Compute({.policy_logprob = policy_logprob,
                                           .streams = streams,
                                           .sequence_of_target = sequence,
                                           .group_of_target = sequence,
                                           .outputs = {}});
  output.loss.backward();
  const at::Tensor gradient = policy_logprob.grad();
  EXPECT_NEAR(gradient[0].item<double>(), 0.5 * 2, 1e-6);
  EXPECT_NEAR(gradient[1].item<double>(), 0.5 * -0.5, 1e-6);
  EXPECT_EQ(gradient[2].item<double>(), 0);
  EXPECT_TRUE(std::isfinite(output.loss.item<double>()));
}

}  // namespace
}  // namespace grpo
