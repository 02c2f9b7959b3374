// Training on a device against training on the CPU: every algorithm and with them every loss, divergence and kind of
// batch; the optimizer; and how often the host waits for the device.
#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <set>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/device.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"
#include "tests/reference/trainee.h"
#include "trainer/batch/on_device.h"
#include "trainer/divergence/divergence.h"
#include "trainer/fingerprint.h"
#include "trainer/loss/loss.h"
#include "trainer/optim/adamw.h"

namespace grpo {
namespace {

// What float32 loses when sums are made in another order.
constexpr double kTolerance = 1e-5;

const std::vector<TraineeCase>& Cases() {
  static const auto* const cases = [] {
    auto* const all = new std::vector<TraineeCase>(DistillationCases());
    all->insert(all->end(), {{"Grpo", "grpo",
                              "{rewards: r, group_size: 3, kl_coefficient: 0.1, reference_policy: other, "
                              "minibatches_per_iteration: 2, iterations_per_step: 2}"},
                             {"GrpoUnscaled", "grpo",
                              "{rewards: r, group_size: 3, scale_rewards: none, loss_reduction: sequence_mean}"},
                             {"Sft", "sft", "{loss_reduction: sequence_mean}"},
                             {"Pretrain", "pretrain", "{row_tokens: 8}"}});
    return all;
  }();
  return *cases;
}

void ExpectSameMetrics(const std::map<std::string, double>& of_device, const std::map<std::string, double>& of_cpu,
                       double tolerance) {
  for (const auto& [name, value] : of_cpu) {
    if (name.ends_with("_seconds")) continue;
    ASSERT_TRUE(of_device.contains(name)) << name;
    EXPECT_NEAR(of_device.at(name), value, tolerance * (1 + std::abs(value))) << name;
  }
}

class DeviceTrainingTest : public ::testing::TestWithParam<TraineeCase> {
 protected:
  Trainee Make(Trainee::Switches switches, c10::Device device) const {
    switches.device = device;
    return Trainee(GetParam().algorithm, GetParam().keys, switches, alone_.get());
  }

  const std::unique_ptr<Collectives> alone_ = Collectives::SingleRank();
};

TEST_P(DeviceTrainingTest, LossSumsAndGradientsAreTheCpus) {
  for (const Trainee::Switches& switches :
       {Trainee::Switches{},
        Trainee::Switches{.micro_batch_tokens = 14, .head_chunk_bytes = 1, .activation_checkpointing = true}}) {
    Trainee cpu = Make(switches, c10::kCPU), there = Make(switches, DeviceUnderTest());
    ASSERT_OK_AND_ASSIGN(const StepBatch batch, cpu.algorithm->Prepare(InputFor(*cpu.algorithm, 31)));
    ASSERT_OK_AND_ASSIGN(const StepResult expected, cpu.loop->Step(batch, /*learning_rate=*/0.0, 0.4));
    ASSERT_OK_AND_ASSIGN(const StepResult result, there.loop->Step(batch, /*learning_rate=*/0.0, 0.4));
    ExpectSameMetrics(result.metrics, expected.metrics, kTolerance);
    const auto gradients = there.optimizer->Gradients(), of_cpu = cpu.optimizer->Gradients();
    ASSERT_EQ(gradients.size(), of_cpu.size());
    for (size_t i = 0; i < gradients.size(); ++i) {
      EXPECT_EQ(gradients[i].device(), DeviceUnderTest());
      EXPECT_LE(RelativeDifference(gradients[i], of_cpu[i]), kTolerance) << "parameter " << i;
    }
  }
}

// AdamW divides each number by how large its gradient is, so what rounding does to the small ones is seen here.
TEST_P(DeviceTrainingTest, SeveralStepsLearnWhatTheCpuLearns) {
  Trainee cpu = Make({.micro_batch_tokens = 12}, c10::kCPU),
          there = Make({.micro_batch_tokens = 12}, DeviceUnderTest());
  const StepInput input = InputFor(*cpu.algorithm, 32);
  const Trainee::Outcome expected = cpu.Learn(input, *alone_), outcome = there.Learn(input, *alone_);
  ExpectSameMetrics(outcome.metrics, expected.metrics, 1e-4);
  ASSERT_EQ(outcome.weights.size(), expected.weights.size());
  for (size_t i = 0; i < outcome.weights.size(); ++i)
    EXPECT_LE(RelativeDifference(outcome.weights[i], expected.weights[i]), 1e-4) << "parameter " << i;
}

TEST_P(DeviceTrainingTest, AnUpdateWaitsForTheDeviceOnce) {
  if (!OnFakeDevice()) GTEST_SKIP() << "only the fake device counts";
  Trainee there = Make({.micro_batch_tokens = 12}, DeviceUnderTest());
  ASSERT_OK_AND_ASSIGN(StepBatch batch, there.algorithm->Prepare(InputFor(*there.algorithm, 33)));
  // What a step of so many passes waits; and gives back.
  const auto count = [&](int64_t iterations) {
    batch.iterations = iterations;
    const fake::Counters before = fake::CountersNow();
    EXPECT_OK(there.loop->Step(batch, 1e-3).status());
    return fake::CountersNow() - before;
  };
  const auto num_minibatches = static_cast<int64_t>(batch.minibatches.size());
  const fake::Counters one = count(1), three = count(3);
  EXPECT_EQ(three.waits - one.waits, 2 * num_minibatches);
  EXPECT_EQ(three.copies_to_host - one.copies_to_host, 2 * num_minibatches);
  // Beside the updates only the weights' hash comes back, a piece for each parameter.
  const auto num_parameters = static_cast<int64_t>(there.student->NamedParameters().size() + there.own.size());
  EXPECT_LE(one.waits, num_minibatches + num_parameters);
}

INSTANTIATE_TEST_SUITE_P(EveryAlgorithm, DeviceTrainingTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST(DeviceTrainingCasesTest, EveryAlgorithmAndEveryLossIsAmongThem) {
  std::set<std::string> algorithms, losses;
  const auto alone = Collectives::SingleRank();
  for (const TraineeCase& of : Cases()) {
    algorithms.insert(of.algorithm);
    const Trainee trainee(of.algorithm, of.keys, {}, alone.get());
    for (const LossTerm& term : trainee.algorithm->losses()) losses.insert(term.name);
  }
  for (const AlgorithmInfo& info : ListAlgorithms()) EXPECT_TRUE(algorithms.contains(info.name)) << info.name;
  for (const LossInfo& info : ListLosses()) EXPECT_TRUE(losses.contains(info.name)) << info.name;
}

// --- A step ---

class DeviceStepTest : public ::testing::Test {
 protected:
  // GRPO, two updates a step.
  DeviceStepTest()
      : there_("grpo", "{rewards: r, group_size: 3, minibatches_per_iteration: 2}", {.device = DeviceUnderTest()},
               alone_.get()),
        batch_(*there_.algorithm->Prepare(InputFor(*there_.algorithm, 34))) {}

  const std::unique_ptr<Collectives> alone_ = Collectives::SingleRank();
  Trainee there_;
  StepBatch batch_;
};

TEST_F(DeviceStepTest, ANonFiniteLossLeavesTheWeightsAndIsCounted) {
  const auto set_advantages = [](TokenStreams& sequence, float value) {
    for (auto& [name, stream] : sequence.streams) {
      if (name == stream::kAdvantage) stream.floats().assign(stream.floats().size(), value);
    }
  };
  set_advantages(batch_.minibatches[0][0], 1);
  set_advantages(batch_.minibatches[1][0], NAN);
  const std::string before = WeightsHash(there_.student->NamedParameters());
  ASSERT_OK_AND_ASSIGN(const StepResult both, there_.loop->Step(batch_, 1e-2));
  EXPECT_EQ(both.metrics.at("skipped_updates"), 1);
  EXPECT_EQ(there_.optimizer->num_steps(), 1);
  batch_.minibatches.erase(batch_.minibatches.begin());
  const std::string between = both.weights_hash;
  EXPECT_NE(between, before);
  ASSERT_OK_AND_ASSIGN(const StepResult none, there_.loop->Step(batch_, 1e-2));
  EXPECT_EQ(none.metrics.at("skipped_updates"), 1);
  EXPECT_EQ(none.weights_hash, between);
}

// A GPU would end the process.
TEST_F(DeviceStepTest, IdsAndPositionsThatTheModelHasNotAreNamedBeforeTheyReachTheDevice) {
  StepBatch wrong = batch_;
  wrong.minibatches[0][0].ids[0] = 11;
  EXPECT_STATUS(there_.loop->Step(wrong, 1e-2), absl::StatusCode::kInvalidArgument, "token id 11");
  wrong.minibatches[0][0].ids[0] = -1;
  EXPECT_STATUS(there_.loop->Step(wrong, 1e-2), absl::StatusCode::kInvalidArgument, "token id -1");
  TokenStreams& last = batch_.minibatches[1].back();
  last.ids.resize(34, 3);
  last.trainable_mask.resize(34, true);
  for (auto& [name, stream] : last.streams) stream.floats().resize(34, 0);
  EXPECT_STATUS(there_.loop->Step(batch_, 1e-2), absl::StatusCode::kInvalidArgument, "position 32");
}

TEST_F(DeviceStepTest, AMicroBatchGoesToTheDeviceByOneCopyThatNobodyWaitsFor) {
  for (TokenStreams& sequence : batch_.minibatches[0]) {
    const auto size = static_cast<int64_t>(sequence.ids.size());
    sequence.streams["wide"] = Stream(std::vector<int64_t>(size * 3, size), /*width=*/3);
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<Microbatch> batches, Pack(batch_.minibatches[0], 1 << 20));
  const Microbatch& here = batches.at(0);
  const fake::Counters before = fake::CountersNow();
  const Microbatch there = OnDevice(here, DeviceUnderTest());
  const fake::Counters counted = fake::CountersNow() - before;
  if (OnFakeDevice()) {
    EXPECT_EQ(counted.copies_to_device, 1);
    EXPECT_EQ(counted.waits, 0);
  }
  const auto expect_same = [](const at::Tensor& on_device, const at::Tensor& tensor, const std::string& name) {
    EXPECT_EQ(on_device.device(), DeviceUnderTest()) << name;
    EXPECT_EQ(on_device.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(on_device.cpu().equal(tensor)) << name;
  };
  expect_same(there.ids, here.ids, "ids");
  expect_same(there.positions, here.positions, "positions");
  expect_same(there.predictor_rows, here.predictor_rows, "predictor_rows");
  expect_same(there.target_ids, here.target_ids, "target_ids");
  expect_same(there.sequence_of_target, here.sequence_of_target, "sequence_of_target");
  expect_same(there.group_of_target, here.group_of_target, "group_of_target");
  ASSERT_EQ(there.streams.size(), here.streams.size());
  for (const auto& [name, stream] : here.streams) expect_same(there.streams.at(name), stream, name);
  EXPECT_EQ(there.layout.lengths, here.layout.lengths);
  EXPECT_EQ(there.layout.prefixes, here.layout.prefixes);
}

// --- Divergences ---

class DeviceDivergenceTest : public ::testing::TestWithParam<DivergenceInfo> {
 protected:
  // Rows of log-probabilities, [rows, 37], of which some are next to 0 or 0 itself; `seed` says which.
  static at::Tensor Rows(uint64_t seed, bool with_zeros) {
    Rng rng(seed);
    at::Tensor logits = at::zeros({7, 37}, at::kDouble);
    for (int64_t i = 0; i < logits.numel(); ++i) logits.data_ptr<double>()[i] = 12 * (2 * rng.Uniform() - 1);
    if (with_zeros) logits.select(1, static_cast<int64_t>(seed % 37)).fill_(-std::numeric_limits<double>::infinity());
    return at::log_softmax(logits, -1);
  }

  const std::unique_ptr<Divergence> divergence_ = *MakeDivergence(GetParam().name);
};

// With entries that are 0 for one of the two, and for both.
TEST_P(DeviceDivergenceTest, ValuesAndGradientsAreTheCpus) {
  for (const auto& [teacher_seed, student_seed] : {std::pair{3, 4}, {5, 5}}) {
    for (const bool with_zeros : {false, true}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
        const at::Tensor log_p = Rows(teacher_seed, with_zeros).to(dtype),
                         log_q = Rows(student_seed, with_zeros).to(dtype);
        const DivergenceRows here = divergence_->Compute(log_p, log_q);
        const DivergenceRows there =
            divergence_->Compute(ToDevice(log_p, DeviceUnderTest()), ToDevice(log_q, DeviceUnderTest()));
        const double tolerance = dtype == at::kFloat ? kTolerance : 1e-12;
        EXPECT_EQ(there.value.device(), DeviceUnderTest());
        EXPECT_TRUE(there.value.cpu().allclose(here.value, tolerance, tolerance, /*equal_nan=*/true))
            << there.value.cpu() << here.value;
        EXPECT_TRUE(there.log_student_gradient.cpu().allclose(here.log_student_gradient, tolerance, tolerance,
                                                              /*equal_nan=*/true));
      }
    }
  }
}

TEST_P(DeviceDivergenceTest, RowsOnTwoDevicesAreRefused) {
  const at::Tensor rows = Rows(3, false);
  EXPECT_THROW(divergence_->Compute(rows, ToDevice(rows, DeviceUnderTest())), std::exception);
  EXPECT_THROW(divergence_->Compute(ToDevice(rows, DeviceUnderTest()), rows), std::exception);
}

INSTANTIATE_TEST_SUITE_P(EveryDivergence, DeviceDivergenceTest, ::testing::ValuesIn(ListDivergences()),
                         [](const auto& info) { return info.param.name; });

// --- The optimizer ---

// A matrix and a vector, their numbers the same at every call.
NamedTensors Parameters(c10::Device device) {
  NamedTensors parameters = {{"matrix", at::zeros({3, 5})}, {"vector", at::zeros({4})}};
  Rng rng(8);
  for (auto& [name, parameter] : parameters) {
    for (int64_t i = 0; i < parameter.numel(); ++i)
      parameter.data_ptr<float>()[i] = static_cast<float>(2 * rng.Uniform() - 1);
    parameter = parameter.to(device).requires_grad_(true);
  }
  return parameters;
}

void SetGradients(AdamW& optimizer, int64_t step) {
  optimizer.ZeroGrad();
  Rng rng(static_cast<uint64_t>(100 + step));
  for (at::Tensor& gradient : optimizer.Gradients()) {
    at::Tensor numbers = at::zeros(gradient.sizes());
    for (int64_t i = 0; i < numbers.numel(); ++i)
      numbers.data_ptr<float>()[i] = static_cast<float>(2 * rng.Uniform() - 1);
    gradient.copy_(numbers);
  }
}

TEST(DeviceAdamWTest, MovesParametersAndMomentsAsOnTheCpuAndWaitsForNothing) {
  for (const char* const decays : {"all", "matrices"}) {
    OptimizerOptions options;
    options.weight_decay = 0.1;
    options.l2 = 0.01;
    options.weight_decay_on = decays;
    AdamW here(Parameters(c10::kCPU), options), there(Parameters(DeviceUnderTest()), options);
    for (int64_t step = 0; step < 4; ++step) {
      SetGradients(here, step);
      SetGradients(there, step);
      here.Step(1e-2);
      const fake::Counters before = fake::CountersNow();
      there.Step(1e-2);
      if (OnFakeDevice()) {
        EXPECT_EQ((fake::CountersNow() - before).waits, 0);
      }
    }
    const auto state = here.State(), on_device = there.State();
    ASSERT_EQ(on_device.size(), state.size());
    for (size_t i = 0; i < state.size(); ++i) {
      EXPECT_EQ(on_device[i].first, state[i].first);
      EXPECT_EQ(on_device[i].second.device(), DeviceUnderTest());
      EXPECT_LE(RelativeDifference(on_device[i].second, state[i].second), 1e-6) << state[i].first;
    }
  }
}

TEST(DeviceAdamWTest, GoesOnFromAStateThatWasSavedElsewhere) {
  const OptimizerOptions options;
  NamedTensors parameters = Parameters(c10::kCPU), on_device = Parameters(DeviceUnderTest());
  AdamW here(parameters, options), there(on_device, options);
  SetGradients(here, 0);
  here.Step(1e-2);
  const auto state = here.State();
  ASSERT_OK(there.SetState({state.begin(), state.end()}, here.num_steps()));
  for (size_t i = 0; i < parameters.size(); ++i) on_device[i].second.detach().copy_(parameters[i].second.detach());
  SetGradients(here, 1);
  SetGradients(there, 1);
  here.Step(1e-2);
  there.Step(1e-2);
  for (size_t i = 0; i < parameters.size(); ++i)
    EXPECT_LE(RelativeDifference(on_device[i].second.detach(), parameters[i].second.detach()), 1e-6);
}

}  // namespace
}  // namespace grpo
