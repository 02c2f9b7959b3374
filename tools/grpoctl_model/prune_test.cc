#include "tools/grpoctl_model/prune.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "model/weights/folder.h"
#include "model/weights/testing.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using Layers = std::vector<int64_t>;
using nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(ChooseLayersTest, HalfOfThemRoundedUpByDefault) {
  EXPECT_EQ(*ChooseLayers({}, 5), (Layers{1, 3, 5}));
  EXPECT_EQ(*ChooseLayers({}, 4), (Layers{1, 4}));
  EXPECT_EQ(*ChooseLayers({}, 1), Layers{1});
  EXPECT_EQ(*ChooseLayers({.layers = "even", .keep = 5}, 5), (Layers{1, 2, 3, 4, 5}));
}

TEST(ChooseLayersTest, AListIsTakenAsItIs) {
  EXPECT_EQ(*ChooseLayers({.layers = "2", .keep = {}}, 5), Layers{2});
  EXPECT_EQ(*ChooseLayers({.layers = "1,2,5", .keep = {}}, 5), (Layers{1, 2, 5}));
}

TEST(ChooseLayersTest, SaysWhichOptionIsWrongAndWhatItMayBe) {
  EXPECT_STATUS(ChooseLayers({.layers = "even", .keep = 0}, 5), kInvalid, "--keep 0: the model has 5 layers");
  EXPECT_STATUS(ChooseLayers({.layers = "even", .keep = 6}, 5), kInvalid, "--keep 6: the model has 5 layers");
  EXPECT_STATUS(ChooseLayers({.layers = "1,2", .keep = 2}, 5), kInvalid, "--keep 2 beside --layers 1,2");
  EXPECT_STATUS(ChooseLayers({.layers = "1,6", .keep = {}}, 5), kInvalid, "there is no layer \"6\"");
  EXPECT_STATUS(ChooseLayers({.layers = "0,1", .keep = {}}, 5), kInvalid, "the model's are 1 to 5");
  EXPECT_STATUS(ChooseLayers({.layers = "1,1", .keep = {}}, 5), kInvalid, "layer 1 is there twice");
  EXPECT_STATUS(ChooseLayers({.layers = "3,1", .keep = {}}, 5), kInvalid, "layer 1 comes after layer 3");
  EXPECT_STATUS(ChooseLayers({.layers = "1,3,1", .keep = {}}, 5), kInvalid, "layer 1 is there twice");
  for (const char* list : {"", "1,", "odd", "1;2", "1.5", "99999999999999999999"}) {
    EXPECT_STATUS(ChooseLayers({.layers = list, .keep = {}}, 5), kInvalid, "there is no layer");
  }
}

TEST(PrunedTest, SaysWhereEachLayerCameFrom) {
  EXPECT_EQ(PrunedTable({1, 30}),
            "student layer  teacher layer\n            1              1\n            2             30\n");
  EXPECT_EQ(PrunedJson({1, 30}, "out"),
            R"({"exported_to":"out","layers":[{"student":1,"teacher":1},{"student":2,"teacher":30}]})"
            "\n");
}

// Dtype, shape and bytes of each tensor, by name.
struct Stored {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
  bool operator==(const Stored&) const = default;
};
using StoredTensors = std::map<std::string, Stored>;

class PruneFolderTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("prune." + std::to_string(::getpid()));
    fs::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_.string()));
    ASSERT_OK_AND_ASSIGN(tokenizer_json_, ReadFile("configs/tokenizers/chickens_rabbits.json"));
    MakeModel({});
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A model of five layers, with a tied head or another.
  void MakeModel(const ExportOptions& options) {
    ModelConfig config = SmallConfig();
    config.num_layers = 5;
    config.tie_word_embeddings = GetParam();
    ASSERT_OK(ExportFolder(*MakeRandom(config, 1), tokenizer_json_,
                           {{"generation_config.json", "{ \"eos_token_id\": [1] }"}, {"chat_template.jinja", "{{x}}"}},
                           Place("whole"), options));
  }
  std::string Place(const std::string& name) const { return (folder_ / name).string(); }
  std::string Content(const std::string& name) const { return *ReadFile(Place(name)); }
  void ChangeConfig(const json& fields) const {
    json config = json::parse(Content("whole/config.json"));
    config.update(fields);
    ASSERT_OK(WriteFileSynced(Place("whole/config.json"), config.dump()));
  }
  StoredTensors Tensors(const std::string& name) const {
    const auto files = OpenWeightFiles(Place(name));
    EXPECT_OK(files);
    StoredTensors tensors;
    for (const WeightFile& file : *files) {
      for (const auto& entry : file.entries) tensors[entry.name] = {entry.dtype, entry.shape, std::string(entry.bytes)};
    }
    return tensors;
  }
  // What `layers` of the whole model are called when they stay alone.
  StoredTensors Expected(const Layers& layers) const {
    StoredTensors expected;
    for (const auto& [name, tensor] : Tensors("whole")) {
      if (!absl::StartsWith(name, "model.layers.")) expected[name] = tensor;
      for (size_t i = 0; i < layers.size(); ++i) {
        const std::string old_prefix = absl::StrCat("model.layers.", layers[i] - 1, ".");
        if (!absl::StartsWith(name, old_prefix)) continue;
        expected[absl::StrReplaceAll(name, {{old_prefix, absl::StrCat("model.layers.", i, ".")}})] = tensor;
      }
    }
    return expected;
  }
  absl::Status Prune(const std::string& layers, std::optional<int64_t> keep = {}) const {
    return PruneFolder(Place("whole"), {.layers = layers, .keep = keep}, Place("pruned")).status();
  }

  fs::path folder_;
  std::string tokenizer_json_;
};

INSTANTIATE_TEST_SUITE_P(Heads, PruneFolderTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Tied" : "Own"; });

TEST_P(PruneFolderTest, WithAllLayersItIsTheSameModel) {
  ChangeConfig({{"layer_types", json::array_t(5, "full_attention")}, {"max_window_layers", 70}});
  ASSERT_OK(Prune("even", 5));
  EXPECT_EQ(Tensors("pruned"), Tensors("whole"));
  EXPECT_EQ(json::parse(Content("pruned/config.json")), json::parse(Content("whole/config.json")));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder pruned, LoadFolder(Place("pruned")));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder whole, LoadFolder(Place("whole")));
  const NamedTensors got = pruned.model->HuggingFaceTensors(), expected = whole.model->HuggingFaceTensors();
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].second.equal(expected[i].second)) << got[i].first;
}

TEST_P(PruneFolderTest, KeptLayersAreTheSameBytesAndTheResultLoads) {
  for (const auto dtype : {v1::DTYPE_FLOAT32, v1::DTYPE_BFLOAT16}) {
    MakeModel({.dtype = dtype});
    ASSERT_OK(Prune("2,5"));
    EXPECT_EQ(Tensors("pruned"), Expected({2, 5}));
    ASSERT_OK_AND_ASSIGN(const LoadedFolder pruned, LoadFolder(Place("pruned")));
    EXPECT_EQ(pruned.model->config().num_layers, 2);
    EXPECT_EQ(pruned.model->config().tie_word_embeddings, GetParam());
    fs::remove_all(Place("pruned"));
  }
}

TEST_P(PruneFolderTest, ShardsAreNumberedAnewAndThoseThatBecomeEmptyAreLeftOut) {
  MakeModel({.dtype = v1::DTYPE_FLOAT32, .max_shard_bytes = 1});
  const Layers layers = *ChooseLayers({}, 5);
  ASSERT_OK(Prune("even"));
  const StoredTensors expected = Expected(layers);
  EXPECT_EQ(Tensors("pruned"), expected);
  EXPECT_TRUE(fs::exists(Place(absl::StrCat("pruned/", ShardName(expected.size() - 1, expected.size())))));
  std::vector<std::string> ignored;
  ASSERT_OK(OpenWeightFiles(Place("pruned"), &ignored));
  EXPECT_TRUE(ignored.empty()) << ignored[0];
  EXPECT_OK(LoadFolder(Place("pruned")));
}

TEST_P(PruneFolderTest, ConfigurationAndCompanionsTravelAndTheListsOfLayersFollow) {
  ChangeConfig({{"layer_types", json::array_t(5, "full_attention")},
                {"max_window_layers", 3},
                {"unsloth_version", "1"},
                {"initializer_range", 0.02}});
  ASSERT_OK_AND_ASSIGN(const Layers layers,
                       PruneFolder(Place("whole"), {.layers = "1,3,4,5", .keep = {}}, Place("pruned") + "/"));
  EXPECT_EQ(layers, (Layers{1, 3, 4, 5}));
  json expected = json::parse(Content("whole/config.json"));
  expected.update({{"num_hidden_layers", 4}, {"layer_types", json::array_t(4, "full_attention")}});
  expected["max_window_layers"] = 2;  // of the first three, 1 and 3 stay
  EXPECT_EQ(json::parse(Content("pruned/config.json")), expected);
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"}) {
    EXPECT_EQ(Content(absl::StrCat("pruned/", name)), Content(absl::StrCat("whole/", name)));
  }
}

TEST_P(PruneFolderTest, AFolderThatHoldsAnythingIsLeftAlone) {
  ASSERT_OK(MakeFolders(Place("pruned")));
  ASSERT_OK(WriteFileSynced(Place("pruned/notes.txt"), "mine"));
  EXPECT_STATUS(Prune("even"), absl::StatusCode::kFailedPrecondition, "holds notes.txt already");
  EXPECT_STATUS(PruneFolder(Place("whole"), {}, Place("whole")), absl::StatusCode::kFailedPrecondition, "--out");
  EXPECT_EQ(Content("pruned/notes.txt"), "mine");
  fs::remove(Place("pruned/notes.txt"));
  EXPECT_OK(Prune("even"));
  EXPECT_OK(LoadFolder(Place("pruned")));
}

TEST_P(PruneFolderTest, WhatIsWrongIsSaidAndNothingIsWritten) {
  EXPECT_STATUS(Prune("1,6"), kInvalid, "--layers 1,6: there is no layer \"6\"; the model's are 1 to 5");
  EXPECT_STATUS(Prune("even", 6), kInvalid, "--keep 6");
  EXPECT_STATUS(PruneFolder(Place("none"), {}, Place("pruned")), absl::StatusCode::kNotFound, "none/config.json");
  ChangeConfig({{"layer_types", json::array_t(4, "full_attention")}});
  EXPECT_STATUS(Prune("even"), kInvalid, "layer_types holds 4 elements and num_hidden_layers is 5");
  ChangeConfig({{"layer_types", nullptr}, {"num_hidden_layers", 4}});
  EXPECT_STATUS(Prune("even"), kInvalid, "tensor model.layers.4.");
  ChangeConfig({{"num_hidden_layers", 6}});
  EXPECT_STATUS(Prune("even"), kInvalid, "tensor model.layers.5.");
  EXPECT_FALSE(fs::exists(Place("pruned")));
  for (const auto& entry : fs::directory_iterator(folder_)) EXPECT_EQ(entry.path().filename(), "whole");
}

}  // namespace
}  // namespace grpo
