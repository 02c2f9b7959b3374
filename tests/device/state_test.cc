// What leaves a device and comes back to it: hashes, published weights, exports, checkpoints. Whoever reads them cannot
// tell where the weights lay.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "model/weights/folder.h"
#include "model/weights/host_pieces.h"
#include "model/weights/live_weights.h"
#include "model/weights/testing.h"
#include "model/weights/weight_set.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"
#include "tests/reference/trainee.h"
#include "trainer/checkpoint/snapshot_testing.h"
#include "trainer/fingerprint.h"

namespace grpo {
namespace {

constexpr char kTokenizerJson[] = "{\"not\": \"read here\"}";

v1::PolicyRef Student(int64_t number = 7) {
  v1::PolicyRef policy;
  policy.set_policy_id("student");
  policy.set_number(number);
  return policy;
}

std::unique_ptr<Transformer> MakeOn(c10::Device device, at::ScalarType compute = at::kFloat) {
  auto model = Transformer::Create(SmallConfig(), {.device = device, .compute = compute});
  EXPECT_OK(model);
  (*model)->InitializeRandom(3);
  return *std::move(model);
}

void ChangeAll(const Transformer& model) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : model.NamedParameters()) parameter.add_(1);
}

TEST(DeviceStateTest, AHashIsOfTheNumbersWhereverTheyLie) {
  const auto here = MakeOn(c10::kCPU), there = MakeOn(DeviceUnderTest());
  const std::string hash = WeightsHash(here->NamedParameters());
  EXPECT_EQ(WeightsHash(there->NamedParameters()), hash);
  ChangeAll(*there);
  EXPECT_NE(WeightsHash(there->NamedParameters()), hash);
}

// Three pieces of 32 MiB and a rest, of numbers that say where they are.
TEST(DeviceStateTest, ALargeTensorComesInPiecesOfWhichNoneIsLost) {
  const int64_t size = 3 * (int64_t{8} << 20) + 5;
  const at::Tensor here = at::arange(size, at::kInt), there = here.to(DeviceUnderTest());
  EXPECT_TRUE(OnHost(there).equal(here));
  std::vector<size_t> pieces;
  EXPECT_OK(ForEachHostPiece(there, [&](absl::string_view bytes) {
    pieces.push_back(bytes.size());
    return absl::OkStatus();
  }));
  EXPECT_EQ(pieces, (std::vector<size_t>{32 << 20, 32 << 20, 32 << 20, 20}));
  EXPECT_STATUS(ForEachHostPiece(there, [](absl::string_view) { return absl::DataLossError("a full disk"); }),
                absl::StatusCode::kDataLoss, "a full disk");
}

TEST(DeviceStateTest, PublishedWeightsAreThoseOfTheCpuToTheDigest) {
  const auto here = MakeOn(c10::kCPU, at::kBFloat16), there = MakeOn(DeviceUnderTest(), at::kBFloat16);
  for (const WeightsForm form : {WeightsForm::kTrained, WeightsForm::kSampled}) {
    ASSERT_OK_AND_ASSIGN(const auto expected, LiveWeights::Of(*here, kTokenizerJson, Student(), {}, form));
    ASSERT_OK_AND_ASSIGN(const auto weights, LiveWeights::Of(*there, kTokenizerJson, Student(), {}, form));
    EXPECT_EQ(weights->manifest().digest(), expected->manifest().digest());
    EXPECT_EQ(PayloadOf(*weights), PayloadOf(*expected));
  }
}

// On the CPU they would be cut off.
TEST(DeviceStateTest, WhoReadsPublishedWeightsReadsThemThroughAnUpdate) {
  const auto there = MakeOn(DeviceUnderTest());
  ASSERT_OK_AND_ASSIGN(const auto weights, LiveWeights::Of(*there, kTokenizerJson, Student()));
  ChangeAll(*there);
  EXPECT_OK(VerifyWeights(*weights));
}

TEST(DeviceStateTest, WeightsAreReadIntoADevice) {
  const auto here = MakeOn(c10::kCPU);
  ASSERT_OK_AND_ASSIGN(const auto weights, LiveWeights::Of(*here, kTokenizerJson, Student()));
  ASSERT_OK_AND_ASSIGN(const MadePolicy made, ReadPolicy(*weights, {.device = DeviceUnderTest()}));
  for (const auto& [name, parameter] : made.model->NamedParameters()) EXPECT_EQ(parameter.device(), DeviceUnderTest());
  EXPECT_EQ(WeightsHash(made.model->NamedParameters()), WeightsHash(here->NamedParameters()));
  ChangeAll(*made.model);
  ASSERT_OK(ReadInto(*weights, *made.model).status());
  EXPECT_EQ(WeightsHash(made.model->NamedParameters()), WeightsHash(here->NamedParameters()));
}

TEST(DeviceStateTest, AnExportedFolderIsThatOfTheCpuAndLoadsOntoADevice) {
  const auto here = MakeOn(c10::kCPU), there = MakeOn(DeviceUnderTest());
  const std::string base = absl::StrCat(::testing::TempDir(), "/device_state.", ::getpid());
  const Companions companions = {{"tokenizer_config.json", "{}"}};
  for (const v1::DType dtype : {v1::DTYPE_FLOAT32, v1::DTYPE_BFLOAT16}) {
    ASSERT_OK(ExportFolder(*here, kTokenizerJson, companions, base + ".cpu", {.dtype = dtype}));
    ASSERT_OK(ExportFolder(*there, kTokenizerJson, companions, base + ".device", {.dtype = dtype}));
    ASSERT_OK_AND_ASSIGN(const std::string of_cpu, ReadFile(base + ".cpu/model.safetensors", 1 << 30));
    ASSERT_OK_AND_ASSIGN(const std::string of_device, ReadFile(base + ".device/model.safetensors", 1 << 30));
    EXPECT_EQ(of_device, of_cpu);
  }
  ASSERT_OK(ExportFolder(*there, kTokenizerJson, companions, base + ".device"));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(base + ".device", {.device = DeviceUnderTest()}));
  EXPECT_EQ(WeightsHash(loaded.model->NamedParameters()), WeightsHash(here->NamedParameters()));
  std::filesystem::remove_all(base + ".cpu");
  std::filesystem::remove_all(base + ".device");
}

// --- A checkpoint ---

// Of the keys that have everything: four updates a step, a reference, a loss with parameters of its own.
struct Keys {
  const char *algorithm, *keys;
};
constexpr Keys kGrpo = {"grpo",
                        "{rewards: r, group_size: 3, kl_coefficient: 0.1, reference_policy: other, "
                        "minibatches_per_iteration: 2, iterations_per_step: 2}"};
constexpr Keys kFeatures = {"feature_distill", "{features: {teacher: teacher}, teachers: [{policy: teacher}]}"};

Snapshot SnapshotOf(const Trainee& trainee) {
  Snapshot snapshot = ExampleSnapshot();
  const auto state = trainee.optimizer->State();
  snapshot.optimizer = {state.begin(), state.end()};
  snapshot.policies = {*LiveWeights::Of(*trainee.student, kTokenizerJson, Student(trainee.optimizer->num_steps()))};
  return snapshot;
}

// As a resumed run begins.
void Restore(const std::map<std::string, std::string>& files, int64_t num_steps, Trainee& trainee) {
  ASSERT_OK_AND_ASSIGN(const Snapshot snapshot, SnapshotFromFiles(LoadedFrom(files)));
  ASSERT_OK(ReadInto(*snapshot.policies.at(0), *trainee.student).status());
  ASSERT_OK(trainee.optimizer->SetState(snapshot.optimizer, num_steps));
}

TEST(DeviceCheckpointTest, ARunThatGoesOnFromOneEqualsOneThatWasNeverInterrupted) {
  const auto alone = Collectives::SingleRank();
  for (const Keys& of : {kGrpo, kFeatures}) {
    const Trainee::Switches switches = {.micro_batch_tokens = 12, .device = DeviceUnderTest()};
    Trainee undisturbed(of.algorithm, of.keys, switches, alone.get());
    ASSERT_OK_AND_ASSIGN(const StepBatch batch,
                         undisturbed.algorithm->Prepare(InputFor(*undisturbed.algorithm, /*seed=*/41)));
    const auto step = [&](Trainee& trainee) { return trainee.loop->Step(batch, 1e-2)->weights_hash; };
    step(undisturbed);
    const std::map<std::string, std::string> files = TextsOf(SnapshotToFiles(SnapshotOf(undisturbed)));
    Trainee resumed(of.algorithm, of.keys, switches, alone.get());
    step(resumed);
    step(resumed);
    Restore(files, undisturbed.optimizer->num_steps(), resumed);
    EXPECT_EQ(TextsOf(SnapshotToFiles(SnapshotOf(resumed))), files);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(step(resumed), step(undisturbed)) << of.algorithm << " step " << i;
  }
}

// It holds nothing of the device: another one goes on from it, to rounding.
TEST(DeviceCheckpointTest, TheCpuGoesOnFromADevicesCheckpointAndTheOtherWayRound) {
  const auto alone = Collectives::SingleRank();
  for (const auto& [first, second] :
       {std::pair{c10::Device(c10::kCPU), DeviceUnderTest()}, {DeviceUnderTest(), c10::Device(c10::kCPU)}}) {
    Trainee saved(kGrpo.algorithm, kGrpo.keys, {.device = first}, alone.get());
    ASSERT_OK_AND_ASSIGN(const StepBatch batch, saved.algorithm->Prepare(InputFor(*saved.algorithm, /*seed=*/42)));
    ASSERT_OK(saved.loop->Step(batch, 1e-2).status());
    const std::map<std::string, std::string> files = TextsOf(SnapshotToFiles(SnapshotOf(saved)));
    Trainee other(kGrpo.algorithm, kGrpo.keys, {.device = second}, alone.get());
    Restore(files, saved.optimizer->num_steps(), other);
    EXPECT_EQ(TextsOf(SnapshotToFiles(SnapshotOf(other))), files);
    ASSERT_OK_AND_ASSIGN(const StepResult expected, saved.loop->Step(batch, 1e-2));
    ASSERT_OK_AND_ASSIGN(const StepResult result, other.loop->Step(batch, 1e-2));
    EXPECT_NEAR(result.metrics.at("loss"), expected.metrics.at("loss"), 1e-4);
    EXPECT_NEAR(result.metrics.at("grad_norm"), expected.metrics.at("grad_norm"),
                1e-3 * expected.metrics.at("grad_norm"));
  }
}

}  // namespace
}  // namespace grpo
