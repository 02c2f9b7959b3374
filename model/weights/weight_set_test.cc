#include "model/weights/weight_set.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>

#include "common/files.h"
#include "common/status_testing.h"
#include "model/weights/safetensors.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

class WeightSetTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("weights." + std::to_string(::getpid()));
    fs::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_.string()));
    ASSERT_OK_AND_ASSIGN(tokenizer_json_, ReadFile("configs/tokenizers/chickens_rabbits.json"));
    config_ = {.vocab_size = 58,
               .hidden_size = 24,
               .intermediate_size = 40,
               .num_layers = 2,
               .num_heads = 4,
               .num_kv_heads = 2,
               .head_dim = 6,
               .max_positions = 32,
               .eos_token_ids = {1}};
    model_ = MakeRandom(config_, 1);
    policy_.set_policy_id("actor");
    policy_.set_number(7);
    ASSERT_OK_AND_ASSIGN(weights_, PackWeights(*model_, tokenizer_json_, policy_));
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::unique_ptr<Transformer> MakeRandom(const ModelConfig& config, uint64_t seed) {
    auto model = Transformer::Create(config);
    EXPECT_OK(model);
    (*model)->InitializeRandom(seed);
    return *std::move(model);
  }
  static bool Equal(const Transformer& a, const Transformer& b) {
    const NamedTensors left = a.NamedParameters(), right = b.NamedParameters();
    for (size_t i = 0; i < left.size(); ++i) {
      if (left[i].first != right[i].first || !left[i].second.equal(right[i].second)) return false;
    }
    return left.size() == right.size();
  }
  std::string Place(const char* name) const { return (folder_ / name).string(); }
  std::vector<std::string> Listing() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path folder_;
  std::string tokenizer_json_;
  ModelConfig config_;
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
  other->RequireGrad();
  ASSERT_OK(LoadWeights(weights_.manifest, weights_.payload, *other));
  EXPECT_TRUE(Equal(*other, *model_));
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
  expect_lost("is not float32",
              [](auto& manifest, auto&) { manifest.mutable_tensors(1)->set_dtype(v1::DTYPE_BFLOAT16); });
  expect_lost("do not cover", [](auto& manifest, auto&) { manifest.mutable_tensors()->RemoveLast(); });
  expect_lost("kind 0", [](auto& manifest, auto&) { manifest.clear_kind(); });
}

TEST_F(WeightSetTest, WeightsOfAnotherArchitectureAreRefusedAndChangeNothing) {
  ModelConfig other = config_;
  other.rope_theta = 20000;  // every shape fits
  const auto target = MakeRandom(other, 2), before = MakeRandom(other, 2);
  EXPECT_STATUS(LoadWeights(weights_.manifest, weights_.payload, *target), absl::StatusCode::kInvalidArgument,
                "another model");
  EXPECT_TRUE(Equal(*target, *before));
  other.num_layers = 3;
  WeightSet weights = weights_;
  weights.manifest.set_config_json(ModelConfigJson(other));
  EXPECT_STATUS(MakeModel(weights.manifest, weights.payload), absl::StatusCode::kInvalidArgument, "float32 parameters");
}

TEST_F(WeightSetTest, AFolderComesBackBitForBit) {
  for (const bool tied : {true, false}) {
    config_.tie_word_embeddings = tied;
    model_ = MakeRandom(config_, 3);
    ASSERT_OK_AND_ASSIGN(weights_, PackWeights(*model_, tokenizer_json_, policy_));
    ASSERT_OK(ExportFolder(weights_, Place("out/")));  // a second time it replaces the first
    ASSERT_OK_AND_ASSIGN(const WeightSet back, ImportFolder(Place("out"), policy_));
    EXPECT_EQ(back.payload, weights_.payload);
    EXPECT_EQ(back.manifest.SerializeAsString(), weights_.manifest.SerializeAsString());
    EXPECT_EQ(Listing(), std::vector<std::string>{"out"}) << "nothing temporary is left";
  }
}

TEST_F(WeightSetTest, ExportDoesNotReplaceAFolderWithOtherThings) {
  ASSERT_OK(MakeFolders(Place("home")));
  ASSERT_OK(WriteFileSynced(Place("home/thesis.tex"), "years of work"));
  EXPECT_STATUS(ExportFolder(weights_, Place("home")), absl::StatusCode::kFailedPrecondition, "holds thesis.tex");
  EXPECT_TRUE(fs::exists(Place("home/thesis.tex")));
  EXPECT_EQ(Listing(), std::vector<std::string>{"home"});
}

// Writes the tensors whose place in the manifest satisfies `wanted` as one shard, converted to `dtype`.
std::string Shard(const WeightSet& weights, at::ScalarType dtype, const char* dtype_name,
                  const std::function<bool(int)>& wanted) {
  std::vector<at::Tensor> kept;
  std::vector<SafetensorsEntry> entries;
  for (int i = 0; i < weights.manifest.tensors_size(); ++i) {
    if (!wanted(i)) continue;
    const v1::TensorEntry& tensor = weights.manifest.tensors(i);
    const std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
    at::Tensor values = at::empty(shape);
    std::memcpy(values.data_ptr(), weights.payload.data() + tensor.offset_bytes(), tensor.num_bytes());
    kept.push_back(values.to(dtype));
    entries.push_back(
        {tensor.name(), dtype_name, shape,
         absl::string_view(static_cast<const char*>(kept.back().const_data_ptr()), kept.back().nbytes())});
  }
  return WriteSafetensors(entries);
}

TEST_F(WeightSetTest, ReadsShardsOfOtherDtypes) {
  ASSERT_OK(ExportFolder(weights_, Place("out")));
  fs::remove(Place("out/model.safetensors"));
  ASSERT_OK(WriteFileSynced(Place("out/model-00001-of-00002.safetensors"),
                            Shard(weights_, at::kBFloat16, "BF16", [](int i) { return i % 2 == 0; })));
  ASSERT_OK(WriteFileSynced(Place("out/model-00002-of-00002.safetensors"),
                            Shard(weights_, at::kHalf, "F16", [](int i) { return i % 2 == 1; })));
  ASSERT_OK_AND_ASSIGN(const WeightSet back, ImportFolder(Place("out"), policy_));
  ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(back.manifest, back.payload));
  const NamedTensors got = model->HuggingFaceTensors(), original = model_->HuggingFaceTensors();
  for (size_t i = 0; i < got.size(); ++i) {
    const at::Tensor rounded = original[i].second.to(i % 2 == 0 ? at::kBFloat16 : at::kHalf).to(at::kFloat);
    EXPECT_TRUE(got[i].second.equal(rounded)) << got[i].first;
  }
}

TEST_F(WeightSetTest, ImportNamesWhatIsMissingOrDoesNotFit) {
  const auto import = [&] { return ImportFolder(Place("out"), policy_); };
  EXPECT_STATUS(import(), absl::StatusCode::kNotFound, "out/config.json");
  ASSERT_OK(ExportFolder(weights_, Place("out")));
  const std::string file = Place("out/model.safetensors");
  const auto rewrite = [&](const std::function<bool(int)>& wanted, const char* dtype = "F32") {
    ASSERT_OK(WriteFileSynced(file, Shard(weights_, at::kFloat, dtype, wanted)));
  };
  rewrite([](int i) { return i != 3; });
  EXPECT_STATUS(import(), absl::StatusCode::kInvalidArgument,
                "tensor model.layers.0.self_attn.k_proj.weight is missing");
  rewrite([](int) { return true; }, "I32");
  EXPECT_STATUS(import(), absl::StatusCode::kInvalidArgument, "is I32; F32, BF16 and F16 can be read");
  ASSERT_OK(WriteFileSynced(file, WriteSafetensors({{"model.norm.weight", "F32", {1}, "1234"}})));
  EXPECT_STATUS(import(), absl::StatusCode::kInvalidArgument, "model.norm.weight has shape [24], expected [1]");
  ASSERT_OK(WriteFileSynced(file, WriteSafetensors({{"surprise", "F32", {1}, "1234"}})));
  EXPECT_STATUS(import(), absl::StatusCode::kInvalidArgument, "surprise");
  ASSERT_OK(WriteFileSynced(file, "junk"));
  EXPECT_STATUS(import(), absl::StatusCode::kInvalidArgument, "model.safetensors: safetensors: the file has 4 bytes");
  fs::remove(file);
  EXPECT_STATUS(import(), absl::StatusCode::kNotFound, "neither model.safetensors nor model-*.safetensors");
}

}  // namespace
}  // namespace grpo
