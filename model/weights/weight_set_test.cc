#include "model/weights/weight_set.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>

#include "common/files.h"
#include "common/status_testing.h"
#include "model/families.h"
#include "model/weights/live_weights.h"
#include "model/weights/testing.h"

namespace grpo {
namespace {

class WeightSetTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(tokenizer_json_, ReadFile("configs/tokenizers/chickens_rabbits.json"));
    model_ = MakeRandom(config_, 1);
    policy_.set_policy_id("actor");
    policy_.set_number(7);
    ASSERT_OK_AND_ASSIGN(weights_, PackWeights(*model_, tokenizer_json_, policy_));
  }

  static bool Equal(const Transformer& a, const Transformer& b) {
    const NamedTensors left = a.NamedParameters(), right = b.NamedParameters();
    for (size_t i = 0; i < left.size(); ++i) {
      if (left[i].first != right[i].first || !left[i].second.equal(right[i].second)) return false;
    }
    return left.size() == right.size();
  }

  std::string tokenizer_json_;
  ModelConfig config_ = SmallConfig();
  std::unique_ptr<Transformer> model_;
  v1::PolicyRef policy_;
  WeightSet weights_;
};

TEST_F(WeightSetTest, ListsHuggingFacesNamesAndShapes) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& tensor : weights_.manifest.tensors())
    shapes[tensor.name()] = {tensor.shape().begin(), tensor.shape().end()};
  EXPECT_EQ(shapes.size(), 2u + 2 * 12);
  EXPECT_EQ(shapes["model.embed_tokens.weight"], (std::vector<int64_t>{58, 24}));
  EXPECT_EQ(shapes["model.layers.1.self_attn.q_proj.weight"], (std::vector<int64_t>{24, 24}));
  EXPECT_EQ(shapes["model.layers.1.self_attn.k_proj.weight"], (std::vector<int64_t>{12, 24}));
  EXPECT_EQ(shapes["model.layers.1.self_attn.v_proj.bias"], (std::vector<int64_t>{12}));
  EXPECT_EQ(shapes["model.layers.1.mlp.up_proj.weight"], (std::vector<int64_t>{40, 24}));
  EXPECT_EQ(shapes["model.layers.1.mlp.down_proj.weight"], (std::vector<int64_t>{24, 40}));
  EXPECT_EQ(shapes["model.norm.weight"], (std::vector<int64_t>{24}));
  EXPECT_EQ(weights_.manifest.payload_bytes() - weights_.manifest.tokenizer().num_bytes(), config_.NumParameters() * 4);
}

TEST_F(WeightSetTest, ANewModelHasTheSameBits) {
  ASSERT_OK(VerifyWeights(weights_.manifest, weights_.payload));
  ASSERT_OK_AND_ASSIGN(const auto made, MakeModel(weights_.manifest, weights_.payload));
  EXPECT_TRUE(Equal(*made, *model_));
  const auto other = MakeRandom(config_, 2);
  EXPECT_FALSE(Equal(*other, *model_));
}

TEST_F(WeightSetTest, AModelThatKeepsBfloat16HoldsTheSameNumbersRounded) {
  const Placement placement = {.compute = at::kBFloat16, .storage = at::kBFloat16};
  ASSERT_OK_AND_ASSIGN(const auto made, MakeModel(weights_.manifest, weights_.payload, placement));
  const NamedTensors exact = model_->NamedParameters(), rounded = made->NamedParameters();
  for (size_t i = 0; i < exact.size(); ++i)
    EXPECT_TRUE(rounded[i].second.equal(exact[i].second.to(rounded[i].second.scalar_type()))) << exact[i].first;
  // And its weights are read as float32 again.
  ASSERT_OK_AND_ASSIGN(const WeightSet again, PackWeights(*made, tokenizer_json_, policy_));
  EXPECT_EQ(again.payload.size(), weights_.payload.size());
  ASSERT_OK_AND_ASSIGN(const auto same, MakeModel(again.manifest, again.payload, placement));
  EXPECT_TRUE(Equal(*same, *made));
}

TEST_F(WeightSetTest, LiveWeightsAreReadInPiecesOfAnySize) {
  const Companions companions = {{"generation_config.json", "{\"top_p\": 0.9}"}};
  ASSERT_OK_AND_ASSIGN(const WeightSet whole, PackWeights(*model_, tokenizer_json_, policy_, companions));
  for (const at::ScalarType storage : {at::kFloat, at::kBFloat16}) {
    ASSERT_OK_AND_ASSIGN(const auto kept, MakeModel(whole.manifest, whole.payload, {.storage = storage}));
    ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*kept, tokenizer_json_, policy_, companions));
    ASSERT_OK_AND_ASSIGN(const WeightSet expected, PackWeights(*kept, tokenizer_json_, policy_, companions));
    ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, live->Open());
    for (const size_t size : {size_t{1013}, size_t{4096}, expected.payload.size()}) {
      std::string read(expected.payload.size(), '\0');
      for (size_t offset = 0; offset < read.size(); offset += size)
        ASSERT_OK(reader.Read(offset, absl::MakeSpan(&read[offset], std::min(size, read.size() - offset))));
      EXPECT_TRUE(read == expected.payload) << "in pieces of " << size;
    }
    EXPECT_EQ(live->manifest().digest() == whole.manifest.digest(), storage == at::kFloat);
  }
}

TEST_F(WeightSetTest, LiveWeightsAreTheTensorsThemselves) {
  ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*model_, tokenizer_json_, policy_));
  ASSERT_OK(VerifyWeights(*live));
  ASSERT_OK_AND_ASSIGN(const MadePolicy made, ReadPolicy(*live));
  EXPECT_TRUE(Equal(*made.model, *model_));
  EXPECT_EQ(made.tokenizer_json, tokenizer_json_);
  model_->NamedParameters().front().second.fill_(0.5);
  EXPECT_STATUS(VerifyWeights(*live), absl::StatusCode::kDataLoss, "the bytes of model.embed_tokens.weight");
  live->Retire(absl::ZeroDuration());
  EXPECT_STATUS(ReadPolicy(*live), absl::StatusCode::kUnavailable, "is being trained on");
}

TEST_F(WeightSetTest, TheDigestNamesTheContentAndNotTheVersion) {
  v1::PolicyRef later = policy_;
  later.set_number(8);
  EXPECT_EQ(PackWeights(*model_, tokenizer_json_, later)->manifest.digest(), weights_.manifest.digest());
  EXPECT_NE(PackWeights(*model_, tokenizer_json_ + " ", policy_)->manifest.digest(), weights_.manifest.digest());
  EXPECT_NE(PackWeights(*MakeRandom(config_, 2), tokenizer_json_, policy_)->manifest.digest(),
            weights_.manifest.digest());
  ModelConfig other = config_;
  other.rope_theta = 20000;
  EXPECT_NE(PackWeights(*MakeRandom(other, 1), tokenizer_json_, policy_)->manifest.digest(),
            weights_.manifest.digest());
}

TEST_F(WeightSetTest, EveryKindOfDamageIsDataLoss) {
  const auto expect_lost = [&](const char* message,
                               const std::function<void(v1::WeightsManifest&, std::string&)>& damage) {
    WeightSet weights = weights_;
    damage(weights.manifest, weights.payload);
    EXPECT_STATUS(VerifyWeights(weights.manifest, weights.payload), absl::StatusCode::kDataLoss, message);
  };
  expect_lost("the bytes of model.embed_tokens.weight",
              [](auto& manifest, auto& payload) { payload[manifest.tensors(0).offset_bytes() + 100] ^= 1; });
  expect_lost("the bytes of model.norm.weight", [](auto&, auto& payload) { payload.back() ^= 1; });
  expect_lost("the payload has", [](auto&, auto& payload) { payload.pop_back(); });
  expect_lost("the bytes of the tokenizer", [](auto&, auto& payload) { payload[0] ^= 1; });
  expect_lost("the tokenizer's place", [](auto& manifest, auto&) { manifest.mutable_tokenizer()->set_num_bytes(-1); });
  expect_lost("the tokenizer's place",
              [](auto& manifest, auto&) { manifest.mutable_tokenizer()->set_offset_bytes(1); });
  expect_lost("the digest is not", [](auto& manifest, auto&) { manifest.mutable_tensors(0)->set_name("x"); });
  expect_lost("do not fit", [](auto& manifest, auto&) { manifest.mutable_tensors(1)->set_offset_bytes(0); });
  expect_lost("do not fit", [](auto& manifest, auto&) { manifest.mutable_tensors(1)->set_shape(0, int64_t{1} << 62); });
  expect_lost("do not fit", [](auto& manifest, auto&) { manifest.mutable_tensors(1)->set_shape(0, -1); });
  expect_lost("is neither float32 nor bfloat16",
              [](auto& manifest, auto&) { manifest.mutable_tensors(1)->set_dtype(v1::DTYPE_UNSPECIFIED); });
  expect_lost("do not fit", [](auto& manifest, auto&) { manifest.mutable_tensors(1)->set_dtype(v1::DTYPE_BFLOAT16); });
  expect_lost("do not cover", [](auto& manifest, auto&) { manifest.mutable_tensors()->RemoveLast(); });
  expect_lost("kind 0", [](auto& manifest, auto&) { manifest.clear_kind(); });
}

// What travels for a policy that computes in bfloat16 is already rounded where the sampler would round it: the model
// that is made of it has the same bits.
TEST_F(WeightSetTest, TheFormForSamplersGivesTheSameModelWithHalfTheBytes) {
  const Placement sampler = {.compute = at::kBFloat16, .storage = at::kBFloat16};
  for (const bool tied : {true, false}) {
    ModelConfig config = config_;
    config.tie_word_embeddings = tied;
    const auto trained = Transformer::Create(config, {.compute = at::kBFloat16});
    ASSERT_OK(trained);
    (*trained)->InitializeRandom(3);
    ASSERT_OK_AND_ASSIGN(const WeightSet exact, PackWeights(**trained, tokenizer_json_, policy_));
    ASSERT_OK_AND_ASSIGN(const WeightSet rounded,
                         PackWeights(**trained, tokenizer_json_, policy_, {}, WeightsForm::kSampled));
    EXPECT_LT(rounded.payload.size(), exact.payload.size());
    EXPECT_NE(rounded.manifest.digest(), exact.manifest.digest()) << "another content";
    ASSERT_OK_AND_ASSIGN(const auto expected, MakeModel(exact.manifest, exact.payload, sampler));
    ASSERT_OK_AND_ASSIGN(const auto made, MakeModel(rounded.manifest, rounded.payload, sampler));
    EXPECT_TRUE(Equal(*made, *expected));
    // Each tensor travels in the dtype in which the sampler keeps it.
    const NamedTensors kept = made->HuggingFaceTensors();
    for (size_t i = 0; i < kept.size(); ++i) {
      const v1::TensorEntry& entry = rounded.manifest.tensors(static_cast<int>(i));
      EXPECT_EQ(entry.name(), kept[i].first);
      EXPECT_EQ(entry.dtype() == v1::DTYPE_BFLOAT16, kept[i].second.scalar_type() == at::kBFloat16) << entry.name();
    }
    // Who keeps float32 gets the rounded numbers.
    ASSERT_OK_AND_ASSIGN(const auto wide, MakeModel(rounded.manifest, rounded.payload));
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_TRUE(wide->HuggingFaceTensors()[i].second.equal(kept[i].second.to(at::kFloat))) << kept[i].first;
  }
}

TEST_F(WeightSetTest, APolicyThatComputesInFloat32HasOneForm) {
  ASSERT_OK_AND_ASSIGN(const WeightSet sampled,
                       PackWeights(*model_, tokenizer_json_, policy_, {}, WeightsForm::kSampled));
  EXPECT_EQ(sampled.manifest.digest(), weights_.manifest.digest());
  EXPECT_TRUE(sampled.payload == weights_.payload);
}

TEST_F(WeightSetTest, AModelThatThereIsTakesTheNextVersion) {
  for (const at::ScalarType storage : {at::kFloat, at::kBFloat16}) {
    const Placement placement = {.compute = storage, .storage = storage};
    ASSERT_OK_AND_ASSIGN(const WeightSet next, PackWeights(*MakeRandom(config_, 2), tokenizer_json_, policy_));
    ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(weights_.manifest, weights_.payload, placement));
    ASSERT_OK_AND_ASSIGN(const auto expected, MakeModel(next.manifest, next.payload, placement));
    const void* const before = model->NamedParameters().front().second.const_data_ptr();
    EXPECT_FALSE(Equal(*model, *expected));
    ASSERT_OK(ReadInto(PayloadWeights(next.manifest, {next.payload}), *model));
    EXPECT_TRUE(Equal(*model, *expected));
    EXPECT_EQ(model->NamedParameters().front().second.const_data_ptr(), before);
    std::string damaged = next.payload;
    damaged.back() ^= 1;
    EXPECT_STATUS(ReadInto(PayloadWeights(next.manifest, {damaged}), *model), absl::StatusCode::kDataLoss,
                  "the bytes of model.norm.weight");
    ModelConfig other = config_;
    other.rope_theta = 20000;
    EXPECT_STATUS(ReadInto(PayloadWeights(next.manifest, {next.payload}), **Transformer::Create(other, placement)),
                  absl::StatusCode::kInvalidArgument, "another architecture");
  }
}

TEST_F(WeightSetTest, WeightsOfAnotherArchitectureAreRefused) {
  ModelConfig other = config_;
  other.num_layers = 3;
  WeightSet weights = weights_;
  weights.manifest.set_config_json(ModelConfigJson(other));
  EXPECT_STATUS(MakeModel(weights.manifest, weights.payload), absl::StatusCode::kInvalidArgument, "parameters");
}

TEST_F(WeightSetTest, CompanionsTravelWithTheWeights) {
  const Companions companions = {{"chat_template.jinja", "{{ messages }}"},
                                 {"generation_config.json", "{\"top_p\": 0.9}"},
                                 {"tokenizer_config.json", "{}"}};
  ASSERT_OK_AND_ASSIGN(const WeightSet with, PackWeights(*model_, tokenizer_json_, policy_, companions));
  ASSERT_OK(VerifyWeights(with.manifest, with.payload));
  EXPECT_EQ(CompanionsOf(with.manifest, with.payload), companions);
  EXPECT_EQ(TokenizerJson(with.manifest, with.payload), tokenizer_json_);
  ASSERT_OK_AND_ASSIGN(const auto made, MakeModel(with.manifest, with.payload));
  EXPECT_TRUE(Equal(*made, *model_));
  EXPECT_NE(with.manifest.digest(), weights_.manifest.digest());
  EXPECT_TRUE(CompanionsOf(weights_.manifest, weights_.payload).empty());
  EXPECT_STATUS(PackWeights(*model_, tokenizer_json_, policy_, {{"setup.py", "import os"}}),
                absl::StatusCode::kInvalidArgument, "\"setup.py\" is not a file that travels");

  const auto expect_lost = [&](const char* message,
                               const std::function<void(v1::WeightsManifest&, std::string&)>& damage) {
    WeightSet weights = with;
    damage(weights.manifest, weights.payload);
    EXPECT_STATUS(VerifyWeights(weights.manifest, weights.payload), absl::StatusCode::kDataLoss, message);
  };
  expect_lost("the bytes of chat_template.jinja",
              [&](auto&, auto& payload) { payload[tokenizer_json_.size() + 1] ^= 1; });
  expect_lost("\"../../etc/passwd\" is not a file that travels",
              [](auto& manifest, auto&) { manifest.mutable_companions(1)->set_name("../../etc/passwd"); });
  expect_lost("\"config.json\" is not a file that travels",
              [](auto& manifest, auto&) { manifest.mutable_companions(1)->set_name("config.json"); });
  expect_lost("do not fit", [](auto& manifest, auto&) { manifest.mutable_companions()->SwapElements(0, 1); });
  expect_lost("out of order",
              [](auto& manifest, auto&) { manifest.mutable_companions(1)->set_name("chat_template.jinja"); });
  expect_lost("the digest is not",
              [](auto& manifest, auto&) { manifest.mutable_companions(0)->set_name("added_tokens.json"); });
  for (const int64_t size : {int64_t{-1}, kMaxCompanionBytes + 1, INT64_MAX}) {
    expect_lost("size and place do not fit",
                [&](auto& manifest, auto&) { manifest.mutable_companions(2)->mutable_content()->set_num_bytes(size); });
  }
  expect_lost("size and place do not fit",
              [](auto& manifest, auto&) { manifest.mutable_companions(1)->mutable_content()->set_offset_bytes(0); });
  expect_lost("do not fit", [](auto& manifest, auto&) { manifest.mutable_companions()->RemoveLast(); });
}

}  // namespace
}  // namespace grpo
