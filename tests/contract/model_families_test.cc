// The contract of every family in model/families.inc (docs/design.md section 3), in float32 and in bfloat16. Parity with
// transformers is tests/parity/models_test.cc's.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/families.h"
#include "model/kv_cache.h"
#include "model/transformer.h"
#include "model/weights/folder.h"

namespace grpo {
namespace {

// At least what the tokenizer of the round trip has.
constexpr int64_t kVocab = 58, kSlots = 5;

struct Case {
  std::string family;
  at::ScalarType dtype;
  // Between two ways to the same logits.
  double tolerance() const { return dtype == at::kFloat ? 1e-5 : 0.1; }
};

ModelConfig SmallConfig(const std::string& family) {
  const nlohmann::json file = {{"model_type", family},     {"vocab_size", kVocab},          {"hidden_size", 40},
                               {"intermediate_size", 72},  {"num_hidden_layers", 3},        {"num_attention_heads", 4},
                               {"num_key_value_heads", 2}, {"max_position_embeddings", 64}, {"head_dim", 10},
                               {"eos_token_id", 1},        {"tie_word_embeddings", false}};
  const auto config = ParseModelConfig(file.dump());
  EXPECT_OK(config);
  return *config;
}

std::vector<int64_t> RandomIds(int64_t length, uint64_t seed) {
  Rng rng(seed);
  std::vector<int64_t> ids(length);
  for (int64_t& id : ids) id = rng.Below(kVocab);
  return ids;
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class ModelFamilyContractTest : public testing::TestWithParam<Case> {
 protected:
  ModelFamilyContractTest() {
    auto weights = *Transformer::Create(SmallConfig(GetParam().family));
    weights->InitializeRandom(3);
    model_ = *Transformer::Create(weights->config(), {.compute = GetParam().dtype, .storage = GetParam().dtype});
    model_->CopyWeights(*weights);
  }

  // Sequences back to back, [N, V].
  at::Tensor Logits(const std::vector<std::vector<int64_t>>& sequences) const {
    std::vector<int64_t> ids, positions, lengths;
    for (const std::vector<int64_t>& sequence : sequences) {
      for (size_t t = 0; t < sequence.size(); ++t) positions.push_back(static_cast<int64_t>(t));
      ids.insert(ids.end(), sequence.begin(), sequence.end());
      lengths.push_back(static_cast<int64_t>(sequence.size()));
    }
    PackedAttention attention(lengths);
    return model_->Logits(model_->Forward(at::tensor(ids), at::tensor(positions), attention));
  }

  // Logits of the last of `ids`, decoded token by token after a prefill of the first, among other slots' tokens.
  at::Tensor CachedLogits(const std::vector<int64_t>& ids, int64_t slot) const {
    KvCache cache(model_->config(), model_->placement(), kSlots, 64);
    PrefillAttention prefill(&cache, {1}, {slot});
    model_->Forward(at::tensor({ids[0]}), at::zeros({1}, at::kLong), prefill);
    std::vector<int64_t> lengths(kSlots, 0), next(kSlots, 2);
    lengths[slot] = 1;
    at::Tensor logits;
    for (size_t t = 1; t < ids.size(); ++t) {
      next[slot] = ids[t];
      DecodeAttention decode(&cache, &lengths);
      logits = model_->Logits(model_->Forward(at::tensor(next), at::tensor(lengths), decode))[slot];
      for (int64_t& length : lengths) ++length;
    }
    return logits;
  }

  const at::NoGradGuard no_grad_;
  std::unique_ptr<Transformer> model_;
};

TEST_P(ModelFamilyContractTest, LaterTokensDoNotChangeEarlierLogits) {
  std::vector<int64_t> ids = RandomIds(20, 6);
  const at::Tensor before = Logits({ids});
  ids[12] = (ids[12] + 1) % kVocab;
  const at::Tensor after = Logits({ids});
  EXPECT_EQ(MaxDifference(before.narrow(0, 0, 12), after.narrow(0, 0, 12)), 0);
  EXPECT_GT(MaxDifference(before.narrow(0, 12, 8), after.narrow(0, 12, 8)), 1e-3);
}

TEST_P(ModelFamilyContractTest, CachedDecodingEqualsTheFullForward) {
  const std::vector<int64_t> ids = RandomIds(37, 1);
  const at::Tensor cached = CachedLogits(ids, 3);
  const double difference = MaxDifference(cached, Logits({ids})[36]);
  std::cout << "cached decoding against the full forward: largest difference of a logit " << difference << "\n";
  EXPECT_LT(difference, GetParam().tolerance());
  // docs/design.md law 5.
  EXPECT_TRUE(cached.equal(CachedLogits(ids, 3))) << "not even equal to itself";
}

TEST_P(ModelFamilyContractTest, ABatchEqualsItsRowsAlone) {
  const std::vector<std::vector<int64_t>> rows = {RandomIds(3, 1), RandomIds(19, 2), RandomIds(1, 3), RandomIds(8, 4)};
  std::vector<at::Tensor> alone;
  for (const std::vector<int64_t>& row : rows) alone.push_back(Logits({row}));
  const double difference = MaxDifference(Logits(rows), at::cat(alone));
  std::cout << "a batch against its rows alone: largest difference of a logit " << difference << "\n";
  EXPECT_LT(difference, GetParam().tolerance());
}

// What is written as a Hugging Face folder comes back bit for bit.
TEST_P(ModelFamilyContractTest, AFolderRoundTripKeepsEveryBit) {
  const std::string folder = testing::TempDir() + "/" + GetParam().family;
  const auto tokenizer_json = ReadFile("configs/tokenizers/chickens_rabbits.json");
  ASSERT_OK(tokenizer_json);
  const bool rounded = GetParam().dtype == at::kBFloat16;
  ASSERT_OK(
      ExportFolder(*model_, *tokenizer_json, {}, folder, {.dtype = rounded ? v1::DTYPE_BFLOAT16 : v1::DTYPE_FLOAT32}));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(folder));
  const NamedTensors expected = model_->HuggingFaceTensors(), got = loaded.model->HuggingFaceTensors();
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].first, expected[i].first);
    // What the model keeps in float32 is rounded on its way into a bfloat16 file.
    const at::Tensor written = rounded ? expected[i].second.to(at::kBFloat16) : expected[i].second;
    EXPECT_TRUE(got[i].second.equal(written.to(at::kFloat))) << got[i].first;
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const std::string& family : ModelFamilyNames()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) cases.push_back({.family = family, .dtype = dtype});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, ModelFamilyContractTest, testing::ValuesIn(Cases()), [](const auto& info) {
  return info.param.family + (info.param.dtype == at::kFloat ? "_float32" : "_bfloat16");
});

}  // namespace
}  // namespace grpo
