// The model on a device against the model on the CPU: every family, in float32 and in bfloat16, with and without
// activation checkpointing; attention, output head and log-probabilities; and that the host never waits on the way.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/device.h"
#include "model/families.h"
#include "model/lm_head.h"
#include "model/sequence_logprobs.h"
#include "model/transformer.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"
#include "trainer/top_logprobs.h"

namespace grpo {
namespace {

constexpr int64_t kVocab = 53;
// What float32 loses when sums are made in another order; what bfloat16 loses when numbers are rounded elsewhere too.
constexpr double kFloatTolerance = 1e-5, kBfloat16Tolerance = 6e-2;

double ToleranceOf(at::ScalarType dtype) {
  return dtype == at::kFloat ? kFloatTolerance : kBfloat16Tolerance;
}

// |a - b| / |b|, `b` at least `floor`; b on the CPU.
double RelativeDifference(const at::Tensor& a, const at::Tensor& b, double floor = 1e-12) {
  const at::Tensor here = a.detach().cpu().to(at::kDouble), expected = b.detach().to(at::kDouble);
  return (here - expected).norm().item<double>() / std::max(floor, expected.norm().item<double>());
}

// Heads of 16 numbers are the flash kernel's, heads of 10 are not.
ModelConfig SmallConfig(const std::string& family, int64_t head_dim = 16) {
  const nlohmann::json file = {{"model_type", family},     {"vocab_size", kVocab},          {"hidden_size", 40},
                               {"intermediate_size", 72},  {"num_hidden_layers", 2},        {"num_attention_heads", 4},
                               {"num_key_value_heads", 2}, {"max_position_embeddings", 64}, {"head_dim", head_dim},
                               {"eos_token_id", 1},        {"tie_word_embeddings", true}};
  const auto config = ParseModelConfig(file.dump());
  EXPECT_OK(config);
  return *config;
}

std::unique_ptr<Transformer> MakeModel(const ModelConfig& config, Placement placement) {
  auto model = Transformer::Create(config, placement);
  EXPECT_OK(model);
  if (placement.storage == at::kFloat) (*model)->InitializeRandom(3);
  return *std::move(model);
}

std::vector<int64_t> RandomIds(int64_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<int64_t> ids(count);
  for (int64_t& id : ids) id = static_cast<int64_t>(rng.Below(kVocab));
  return ids;
}

// A prompt of 6 that three go on from, one of them with nothing of its own, and two that stand alone.
PackedLayout SharedLayout() {
  return {.lengths = {6, 4, 0, 7, 1, 9}, .prefixes = {-1, 0, 0, 0, -1, -1}};
}

std::vector<int64_t> PositionsOf(const PackedLayout& layout) {
  std::vector<int64_t> positions;
  for (size_t i = 0; i < layout.lengths.size(); ++i) {
    const int64_t first = layout.prefixes.empty() || layout.prefixes[i] < 0 ? 0 : layout.lengths[layout.prefixes[i]];
    for (int64_t t = 0; t < layout.lengths[i]; ++t) positions.push_back(first + t);
  }
  return positions;
}

// --- Every family ---

struct Case {
  std::string family;
  at::ScalarType dtype;
  bool checkpointed;
  int64_t head_dim;
};

// What a pass over SharedLayout gives.
struct Pass {
  at::Tensor logprobs;
  NamedTensors gradients;
};

class DeviceModelTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Transformer> Make(c10::Device device) const {
    const ModelConfig config = SmallConfig(GetParam().family, GetParam().head_dim);
    return MakeModel(config, {.device = device, .compute = GetParam().dtype, .head = GetParam().dtype});
  }

  // Of SharedLayout's tokens.
  at::Tensor Logprobs(const Transformer& model) const {
    const PackedLayout layout = SharedLayout();
    const c10::Device device = model.placement().device;
    const std::vector<int64_t> where = PositionsOf(layout);
    const auto count = static_cast<int64_t>(where.size());
    const at::Tensor ids = ToDevice(RandomIds(count, 1), device), positions = ToDevice(where, device);
    const at::Tensor targets = ToDevice(RandomIds(count, 2), device);
    const auto attention = std::make_shared<PackedAttention>(layout);
    const at::Tensor hidden = GetParam().checkpointed ? model.CheckpointedForward(ids, positions, attention)
                                                      : model.Forward(ids, positions, *attention);
    // Chunks of five rows.
    return TargetLogprobs(hidden, model.head(), targets, /*temperature=*/0.7, 5 * kVocab * 4, GetParam().dtype);
  }

  // With gradients of a weighted sum of them.
  Pass Run(Transformer& model) const {
    const at::Tensor logprobs = Logprobs(model);
    const at::Tensor weights = ToDevice(at::linspace(-1, 2, logprobs.numel()), model.placement().device);
    (logprobs * weights).sum().backward();
    Pass pass = {.logprobs = logprobs.detach(), .gradients = {}};
    for (const auto& [name, parameter] : model.NamedParameters()) pass.gradients.emplace_back(name, parameter.grad());
    return pass;
  }
};

TEST_P(DeviceModelTest, LogProbabilitiesAndGradientsAreTheCpus) {
  const auto here = Make(c10::kCPU), there = Make(DeviceUnderTest());
  here->RequireGrad();
  there->RequireGrad();
  const Pass expected = Run(*here), pass = Run(*there);
  const double tolerance = ToleranceOf(GetParam().dtype);
  EXPECT_EQ(pass.logprobs.device(), DeviceUnderTest());
  EXPECT_LT(RelativeDifference(pass.logprobs, expected.logprobs), tolerance);
  double squares = 0;
  for (const auto& [name, gradient] : expected.gradients) squares += std::pow(gradient.norm().item<double>(), 2);
  // What is small beside all of them is what is left of large numbers.
  const double floor = 1e-2 * std::sqrt(squares);
  ASSERT_EQ(pass.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < pass.gradients.size(); ++i) {
    const auto& [name, gradient] = pass.gradients[i];
    EXPECT_EQ(gradient.device(), DeviceUnderTest()) << name;
    EXPECT_EQ(gradient.scalar_type(), at::kFloat) << name;
    EXPECT_LT(RelativeDifference(gradient, expected.gradients[i].second, floor), tolerance) << name;
  }
}

TEST_P(DeviceModelTest, APassForthAndBackWaitsForNothing) {
  if (!OnFakeDevice()) GTEST_SKIP() << "only the fake device counts";
  const auto there = Make(DeviceUnderTest());
  there->RequireGrad();
  const fake::Counters before = fake::CountersNow();
  const Pass pass = Run(*there);
  const fake::Counters counted = fake::CountersNow() - before;
  EXPECT_EQ(counted.waits, 0);
  EXPECT_EQ(counted.copies_to_host, 0);
  // Ids, positions, targets, weights, and the layout's tables once for all layers.
  EXPECT_EQ(counted.copies_to_device, 5);
}

TEST_P(DeviceModelTest, WhatItTakesIsGivenBack) {
  if (!OnFakeDevice()) GTEST_SKIP() << "libraries of real devices keep workspaces";
  const int64_t before = MemoryOf(DeviceUnderTest()).allocated_bytes;
  {
    const auto there = Make(DeviceUnderTest());
    there->RequireGrad();
    // With all that a backward pass would need; autograd's own thread lets go of that in its own time.
    const at::Tensor logprobs = Logprobs(*there);
    EXPECT_GT(MemoryOf(DeviceUnderTest()).allocated_bytes, before);
  }
  EXPECT_EQ(MemoryOf(DeviceUnderTest()).allocated_bytes, before);
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const std::string& family : ModelFamilyNames()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (const bool checkpointed : {false, true}) {
        cases.push_back({.family = family, .dtype = dtype, .checkpointed = checkpointed, .head_dim = 16});
      }
    }
  }
  // Heads that the flash kernel does not take.
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    cases.push_back({.family = ModelFamilyNames().front(), .dtype = dtype, .checkpointed = false, .head_dim = 10});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, DeviceModelTest, testing::ValuesIn(Cases()), [](const auto& info) {
  return info.param.family + (info.param.dtype == at::kFloat ? "_float32" : "_bfloat16") +
         (info.param.checkpointed ? "_checkpointed" : "") + (info.param.head_dim == 16 ? "" : "_odd_heads");
});

// --- Weights ---

TEST(DeviceWeightsTest, ASeedGivesTheSameNumbersEverywhere) {
  const ModelConfig config = SmallConfig(ModelFamilyNames().front());
  const auto here = MakeModel(config, {}), there = MakeModel(config, {.device = DeviceUnderTest()});
  const NamedTensors expected = here->NamedParameters(), got = there->NamedParameters();
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].second.cpu().equal(expected[i].second)) << got[i].first;
}

TEST(DeviceWeightsTest, AreCopiedThereAndBackBitForBit) {
  const at::NoGradGuard no_grad;
  const ModelConfig config = SmallConfig(ModelFamilyNames().front());
  const auto here = MakeModel(config, {});
  for (const auto& [name, tensor] : here->NamedParameters()) tensor.mul_(1.5);
  const auto there = *Transformer::Create(config, {.device = DeviceUnderTest()}), back = *Transformer::Create(config);
  there->CopyWeights(*here);
  back->CopyWeights(*there);
  const NamedTensors expected = here->NamedParameters(), got = back->NamedParameters();
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].second.equal(expected[i].second)) << got[i].first;
}

// What samples keeps its matrices rounded: the same logits as from matrices that are rounded in each pass.
TEST(DeviceWeightsTest, KeptInBfloat16GiveTheSameLogits) {
  const at::NoGradGuard no_grad;
  const ModelConfig config = SmallConfig(ModelFamilyNames().front());
  const c10::Device device = DeviceUnderTest();
  const auto wide = MakeModel(config, {.device = device, .compute = at::kBFloat16});
  const auto kept =
      *Transformer::Create(config, {.device = device, .compute = at::kBFloat16, .storage = at::kBFloat16});
  kept->CopyWeights(*wide);
  const std::vector<int64_t> ids = RandomIds(9, 4), positions = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<at::Tensor> logits;
  for (const Transformer* const model : {wide.get(), kept.get()}) {
    PackedAttention attention({9});
    logits.push_back(model->Logits(model->Forward(ToDevice(ids, device), ToDevice(positions, device), attention)));
  }
  EXPECT_TRUE(logits[0].cpu().equal(logits[1].cpu()));
}

TEST(DeviceWeightsTest, ArePackedOnTheCpuAlone) {
  const auto there = MakeModel(SmallConfig(ModelFamilyNames().front()), {.device = DeviceUnderTest()});
  PackedWeights packed(4);
  EXPECT_ANY_THROW(packed.Fill(*there));
  EXPECT_FALSE(there->RowsAreIndependent());
}

// --- Parts ---

// What is shared gives what it gives when it is written out, and gathers the gradients of all who share it.
class DeviceAttentionTest : public testing::TestWithParam<std::pair<at::ScalarType, int64_t>> {};

TEST_P(DeviceAttentionTest, EqualsPlainAttentionOverTheLayout) {
  const auto [dtype, head_dim] = GetParam();
  const PackedLayout layout = SharedLayout();
  const auto rows = static_cast<int64_t>(PositionsOf(layout).size());
  std::vector<at::Tensor> here, there;
  for (const int64_t heads : {4, 2, 2}) {
    const at::Tensor numbers = at::randn({rows, heads, head_dim}).to(dtype);
    // The CPU's way in float32 is what both types are held against.
    here.push_back(numbers.to(at::kFloat).detach().requires_grad_(true));
    there.push_back(numbers.to(DeviceUnderTest()).detach().requires_grad_(true));
  }
  const at::Tensor expected = PlainPackedAttention(layout, here[0], here[1], here[2]);
  PackedAttention attention(layout);
  const at::Tensor attended = attention.Attend(0, there[0], there[1], there[2]);
  EXPECT_EQ(attended.scalar_type(), dtype);
  EXPECT_LT(RelativeDifference(attended, expected), ToleranceOf(dtype));
  const at::Tensor d_out = at::randn(expected.sizes()).to(dtype);
  (expected * d_out.to(at::kFloat)).sum().backward();
  (attended * d_out.to(DeviceUnderTest())).sum().backward();
  for (size_t i = 0; i < here.size(); ++i) {
    EXPECT_LT(RelativeDifference(there[i].grad(), here[i].grad()), ToleranceOf(dtype)) << "gradient " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DeviceAttentionTest,
                         testing::Values(std::pair(at::kFloat, 16), std::pair(at::kBFloat16, 16),
                                         std::pair(at::kBFloat16, 10)));

TEST(DeviceEmptyAttentionTest, NothingGivesNothing) {
  PackedAttention attention(PackedLayout{});
  const at::Tensor none = at::zeros({0, 4, 16}, at::TensorOptions(DeviceUnderTest()));
  EXPECT_EQ(attention.Attend(0, none, none, none).sizes(), none.sizes());
}

TEST(DeviceHeadTest, EqualsTheCpusWhateverTheChunks) {
  const at::Tensor hidden = at::randn({7, 24}), head = at::randn({kVocab, 24}), targets = at::zeros({7}, at::kLong);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t chunk_bytes : {int64_t{1}, 3 * kVocab * 4, int64_t{1} << 20}) {
      std::vector<at::Tensor> results[2];
      for (const bool on_device : {false, true}) {
        const c10::Device device = on_device ? DeviceUnderTest() : c10::Device(c10::kCPU);
        const at::Tensor x = hidden.to(device).detach().requires_grad_(true),
                         w = head.to(device).detach().requires_grad_(true);
        const at::Tensor logprobs = TargetLogprobs(x, w, targets.to(device), /*temperature=*/0.8, chunk_bytes, dtype);
        logprobs.pow(2).sum().backward();
        results[on_device] = {logprobs, x.grad(), w.grad()};
      }
      for (size_t i = 0; i < results[0].size(); ++i) {
        EXPECT_LT(RelativeDifference(results[1][i], results[0][i]), ToleranceOf(dtype)) << i << ", " << chunk_bytes;
      }
      EXPECT_EQ(results[1][1].scalar_type(), at::kFloat);
    }
  }
  const at::TensorOptions there(DeviceUnderTest());
  EXPECT_EQ(
      TargetLogprobs(at::zeros({0, 24}, there), head.to(DeviceUnderTest()), at::zeros({0}, there.dtype(at::kLong)), 1.0)
          .numel(),
      0);
}

TEST(DeviceHeadTest, ASequencesLogProbabilitiesAreTheCpus) {
  const at::NoGradGuard no_grad;
  const ModelConfig config = SmallConfig(ModelFamilyNames().front());
  const auto here = MakeModel(config, {}), there = MakeModel(config, {.device = DeviceUnderTest()});
  const std::vector<int64_t> ids = RandomIds(20, 5);
  EXPECT_LT(RelativeDifference(SequenceLogprobs(*there, ids), SequenceLogprobs(*here, ids)), kFloatTolerance);
}

TEST(DeviceHeadTest, TheLikeliestTokensAreTheCpus) {
  const ModelConfig config = SmallConfig(ModelFamilyNames().front());
  const auto here = MakeModel(config, {}), there = MakeModel(config, {.device = DeviceUnderTest()});
  const std::vector<TokenizedTrace> traces = {{.prompt_ids = {3, 4, 5}, .completion_ids = {6, 7, 8, 1}},
                                              {.prompt_ids = {3, 4, 5}, .completion_ids = {9, 1}},
                                              {.prompt_ids = {11}, .completion_ids = {12, 13, 14}}};
  TrainerOptions options;
  options.micro_batch_tokens = 12;
  options.head_chunk_bytes = 2 * kVocab * 4;
  ASSERT_OK_AND_ASSIGN(const std::vector<TopK> expected, TopLogprobs(*here, traces, 5, options));
  ASSERT_OK_AND_ASSIGN(const std::vector<TopK> tops, TopLogprobs(*there, traces, 5, options));
  ASSERT_EQ(tops.size(), expected.size());
  for (size_t i = 0; i < tops.size(); ++i) {
    EXPECT_EQ(tops[i].ids, expected[i].ids) << i;
    ASSERT_EQ(tops[i].logprobs.size(), expected[i].logprobs.size());
    for (size_t j = 0; j < tops[i].logprobs.size(); ++j) {
      EXPECT_NEAR(tops[i].logprobs[j], expected[i].logprobs[j], 1e-5 * std::abs(expected[i].logprobs[j])) << i;
    }
  }
}

TEST(DeviceLayersTest, ChosenLayersGiveTheirOutputs) {
  const at::NoGradGuard no_grad;
  const ModelConfig config = SmallConfig(ModelFamilyNames().front());
  const std::vector<int64_t> ids = RandomIds(6, 7), positions = {0, 1, 2, 3, 4, 5};
  std::vector<LayerOutputs> outputs;
  for (const c10::Device device : {c10::Device(c10::kCPU), DeviceUnderTest()}) {
    const auto model = MakeModel(config, {.device = device});
    PackedAttention attention({6});
    LayerOutputs wanted = {{1, {}}, {2, {}}};
    model->Forward(ToDevice(ids, device), ToDevice(positions, device), attention, /*packed=*/nullptr, &wanted);
    outputs.push_back(wanted);
  }
  for (const int64_t layer : {1, 2}) {
    EXPECT_LT(RelativeDifference(outputs[1].at(layer), outputs[0].at(layer)), kFloatTolerance) << layer;
  }
}

}  // namespace
}  // namespace grpo
