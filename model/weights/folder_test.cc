#include "model/weights/folder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/status_testing.h"
#include "model/weights/safetensors.h"
#include "model/weights/testing.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("folder." + std::to_string(::getpid()));
    fs::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_.string()));
    ASSERT_OK_AND_ASSIGN(tokenizer_json_, ReadFile("configs/tokenizers/chickens_rabbits.json"));
    model_ = MakeRandom(config_, 1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  absl::Status Export(const char* name, const ExportOptions& options = {}) const {
    return ExportFolder(*model_, tokenizer_json_, companions_, Place(name), options);
  }
  std::string Place(const std::string& name) const { return (folder_ / name).string(); }
  std::vector<std::string> Listing(const std::string& name = "") const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / name)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  json ReadJson(const std::string& name) const { return json::parse(*ReadFile(Place(name))); }
  // Writes the tensors whose place in the list satisfies `wanted` as one file.
  void WriteTensors(const char* name, at::ScalarType dtype, const char* dtype_name,
                    const std::function<bool(int)>& wanted, const std::string& first_name = "") const {
    std::vector<at::Tensor> kept;
    std::vector<SafetensorsEntry> entries;
    const NamedTensors tensors = model_->HuggingFaceTensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!wanted(i)) continue;
      kept.push_back(tensors[i].second.to(dtype).contiguous());
      const absl::string_view bytes(static_cast<const char*>(kept.back().const_data_ptr()), kept.back().nbytes());
      entries.push_back({entries.empty() && !first_name.empty() ? first_name : tensors[i].first, dtype_name,
                         tensors[i].second.sizes().vec(), bytes});
    }
    ASSERT_OK(WriteFileSynced(Place(name), WriteSafetensors(entries)));
  }
  void ExpectLoads(const std::string& name, const std::function<at::Tensor(const at::Tensor&)>& as) const {
    ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place(name)));
    const NamedTensors got = loaded.model->HuggingFaceTensors(), original = model_->HuggingFaceTensors();
    ASSERT_EQ(got.size(), original.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].second.equal(as(original[i].second))) << got[i].first;
    EXPECT_EQ(loaded.tokenizer_json, tokenizer_json_);
  }
  static at::Tensor Same(const at::Tensor& tensor) { return tensor; }
  static at::Tensor Rounded(const at::Tensor& tensor) { return tensor.to(at::kBFloat16).to(at::kFloat); }

  fs::path folder_;
  std::string tokenizer_json_;
  ModelConfig config_ = SmallConfig();
  Companions companions_;
  std::unique_ptr<Transformer> model_;
};

TEST_F(FolderTest, AnExportComesBackBitForBit) {
  for (const bool tied : {true, false}) {
    config_.tie_word_embeddings = tied;
    model_ = MakeRandom(config_, 3);
    ASSERT_OK(Export("out/"));  // a second time it replaces the first
    ExpectLoads("out", Same);
    EXPECT_EQ(ReadJson("out/config.json")["torch_dtype"], "float32");
    EXPECT_EQ(Listing(), std::vector<std::string>{"out"}) << "nothing temporary is left";
  }
}

TEST_F(FolderTest, AnExportInBfloat16IsTheModelRounded) {
  ASSERT_OK(Export("out", {.dtype = v1::DTYPE_BFLOAT16}));
  EXPECT_EQ(ReadJson("out/config.json")["torch_dtype"], "bfloat16");
  ExpectLoads("out", Rounded);
  ASSERT_OK_AND_ASSIGN(const std::string file, ReadFile(Place("out/model.safetensors")));
  ASSERT_OK_AND_ASSIGN(const auto entries, ParseSafetensors(file));
  for (const SafetensorsEntry& entry : entries) EXPECT_EQ(entry.dtype, "BF16");
  // And from there on bit for bit.
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place("out")));
  ASSERT_OK(ExportFolder(*loaded.model, loaded.tokenizer_json, loaded.companions, Place("again"),
                         {.dtype = v1::DTYPE_BFLOAT16}));
  ASSERT_OK_AND_ASSIGN(const std::string again, ReadFile(Place("again/model.safetensors")));
  EXPECT_TRUE(file == again);
  EXPECT_STATUS(Export("out", {.dtype = v1::DTYPE_UNSPECIFIED}), kInvalid, "only as float32 or bfloat16");
}

TEST_F(FolderTest, ALargeModelGoesIntoShardsWithAnIndex) {
  // The embedding alone is larger; everything else is split.
  ASSERT_OK(Export("out", {.max_shard_bytes = 5000}));
  const std::vector<std::string> names = Listing("out");
  EXPECT_FALSE(fs::exists(Place("out/model.safetensors")));
  const json index = ReadJson("out/model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], config_.NumParameters() * 4);
  int64_t num_shards = 0;
  for (const std::string& name : names) {
    if (!name.starts_with("model-")) continue;
    ++num_shards;
    ASSERT_OK_AND_ASSIGN(const std::string file, ReadFile(Place("out/" + name)));
    ASSERT_OK_AND_ASSIGN(const auto entries, ParseSafetensors(file));
    int64_t num_bytes = 0;
    for (const SafetensorsEntry& entry : entries) {
      EXPECT_EQ(index["weight_map"][entry.name], name);
      num_bytes += entry.bytes.size();
    }
    EXPECT_TRUE(num_bytes <= 5000 || entries.size() == 1) << num_bytes;
  }
  EXPECT_GT(num_shards, 4);
  EXPECT_TRUE(fs::exists(Place("out/model-00001-of-000" + std::to_string(num_shards) + ".safetensors")) ||
              fs::exists(Place("out/model-00001-of-0000" + std::to_string(num_shards) + ".safetensors")));
  ExpectLoads("out", Same);
  ASSERT_OK(Export("out"));
  EXPECT_EQ(Listing("out"),
            (std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}))
      << "the shards are gone";
}

TEST_F(FolderTest, EndTokensOfTheGenerationConfigurationAreAdded) {
  companions_ = {{"generation_config.json", R"({"eos_token_id": [1, 5]})"}};
  ASSERT_OK(Export("chat"));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place("chat")));
  EXPECT_EQ(loaded.model->config().eos_token_ids, (std::vector<int64_t>{1, 5}));
  for (const char* bad : {"58", "-1", "[1, \"x\"]", "1.5"}) {
    companions_ = {{"generation_config.json", std::string("{\"eos_token_id\": ") + bad + "}"}};
    ASSERT_OK(Export("bad"));
    EXPECT_STATUS(LoadFolder(Place("bad")), kInvalid, "generation_config.json: eos_token_id holds");
  }
}

TEST_F(FolderTest, CompanionsOfTheFolderAreExportedAsTheyWere) {
  ASSERT_OK(Export("plain"));
  EXPECT_EQ(ReadJson("plain/tokenizer_config.json")["tokenizer_class"], "PreTrainedTokenizerFast") << "made up";
  EXPECT_EQ(ReadJson("plain/tokenizer_config.json")["eos_token"], "<eos>");
  companions_ = {{"added_tokens.json", "{\"<x>\": 58}"},
                 {"chat_template.jinja", "{% for m in messages %}\xe2\x82\xac{% endfor %}"},
                 {"generation_config.json", "{ \"top_k\":20}\n"},
                 {"special_tokens_map.json", "{}"},
                 {"tokenizer_config.json", "{\"tokenizer_class\": \"Mine\"}"}};
  ASSERT_OK(Export("out"));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place("out")));
  EXPECT_EQ(loaded.companions, companions_);
  ASSERT_OK(Export("out")) << "they do not make it a folder with other things";
  for (const auto& [content, message] : std::map<std::string, std::string>{
           {"{", "tokenizer_config.json is not valid JSON"},
           {"[]", "is not a JSON object"},
           {std::string(kMaxCompanionBytes + 1, ' '), "tokenizer_config.json is longer than 4194304 bytes"}}) {
    ASSERT_OK(WriteFileSynced(Place("out/tokenizer_config.json"), content));
    EXPECT_STATUS(LoadFolder(Place("out")), kInvalid, message);
  }
  fs::remove(Place("out/tokenizer_config.json"));
  ASSERT_OK(WriteFileSynced(Place("out/chat_template.jinja"), "\xff"));
  EXPECT_STATUS(LoadFolder(Place("out")), kInvalid, "out: chat_template.jinja is not UTF-8");
}

TEST_F(FolderTest, ExportDoesNotReplaceAFolderWithOtherThings) {
  ASSERT_OK(MakeFolders(Place("home")));
  ASSERT_OK(WriteFileSynced(Place("home/thesis.tex"), "years of work"));
  EXPECT_STATUS(Export("home"), absl::StatusCode::kFailedPrecondition, "holds thesis.tex");
  EXPECT_TRUE(fs::exists(Place("home/thesis.tex")));
  EXPECT_EQ(Listing(), std::vector<std::string>{"home"});
}

TEST_F(FolderTest, ReadsShardsOfOtherDtypesWithoutAnIndex) {
  ASSERT_OK(Export("out"));
  fs::remove(Place("out/model.safetensors"));
  WriteTensors("out/model-00001-of-00002.safetensors", at::kBFloat16, "BF16", [](int i) { return i % 2 == 0; });
  WriteTensors("out/model-00002-of-00002.safetensors", at::kHalf, "F16", [](int i) { return i % 2 == 1; });
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place("out")));
  const NamedTensors got = loaded.model->HuggingFaceTensors(), original = model_->HuggingFaceTensors();
  for (size_t i = 0; i < got.size(); ++i) {
    const at::Tensor rounded = original[i].second.to(i % 2 == 0 ? at::kBFloat16 : at::kHalf).to(at::kFloat);
    EXPECT_TRUE(got[i].second.equal(rounded)) << got[i].first;
  }
}

TEST_F(FolderTest, ReadsTensorsAtAnyAddress) {
  ASSERT_OK(Export("out"));
  for (const char* dtype : {"F32", "BF16", "F16"}) {
    const at::ScalarType type = dtype == std::string("F32") ? at::kFloat : dtype[0] == 'B' ? at::kBFloat16 : at::kHalf;
    WriteTensors("out/model.safetensors", type, dtype, [](int) { return true; });
    ASSERT_OK_AND_ASSIGN(std::string file, ReadFile(Place("out/model.safetensors")));
    // One space more in the header.
    ASSERT_LT(static_cast<unsigned char>(file[0]), 0xff);
    ++file[0];
    file.insert(file.find("}}") + 2, " ");
    ASSERT_OK(WriteFileSynced(Place("out/model.safetensors"), file));
    ExpectLoads("out", [&](const at::Tensor& tensor) { return tensor.to(type).to(at::kFloat); });
  }
}

TEST_F(FolderTest, ATensorOfAnotherShapeThanTheConfigurationSaysIsNamed) {
  ASSERT_OK(Export("out"));
  json config = ReadJson("out/config.json");
  config["intermediate_size"] = 44;
  ASSERT_OK(WriteFileSynced(Place("out/config.json"), config.dump()));
  EXPECT_STATUS(LoadFolder(Place("out")), kInvalid,
                "mlp.gate_proj.weight has shape [40, 24], and config.json describes one of [44, 24]");
}

// Writes the model's tensors and others into out/model.safetensors.
class StoredTensorsTest : public FolderTest {
 protected:
  absl::Status Store(const std::vector<std::pair<std::string, at::Tensor>>& others, const Transformer& model) {
    std::vector<SafetensorsEntry> entries;
    std::vector<std::pair<std::string, at::Tensor>> tensors = others;
    for (const auto& [name, tensor] : model.HuggingFaceTensors()) {
      const bool given = std::any_of(others.begin(), others.end(), [&](const auto& one) { return one.first == name; });
      if (!given) tensors.emplace_back(name, tensor);
    }
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.contiguous();
      entries.push_back({name, "F32", tensor.sizes().vec(),
                         absl::string_view(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes())});
    }
    return WriteFileSynced(Place("out/model.safetensors"), WriteSafetensors(entries));
  }
};

TEST_F(StoredTensorsTest, AHeadThatDiffersFromTheEmbeddingItShouldBeTiedToCounts) {
  ASSERT_OK(Export("out"));
  const at::Tensor embedding = model_->HuggingFaceTensors()[0].second;
  ASSERT_EQ(model_->HuggingFaceTensors()[0].first, "model.embed_tokens.weight");
  ASSERT_OK(Store({{"lm_head.weight", embedding + 1}}, *model_));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder own, LoadFolder(Place("out")));
  EXPECT_FALSE(own.model->config().tie_word_embeddings);
  const at::Tensor hidden = at::ones({1, config_.hidden_size});
  EXPECT_TRUE(at::allclose(own.model->Logits(hidden), hidden.matmul((embedding + 1).t()), 1e-4, 1e-4));
  ASSERT_EQ(own.ignored.size(), 1u);
  EXPECT_EQ(own.ignored[0].rfind("tie_word_embeddings true: the lm_head.weight", 0), 0u);
  // And out again as what it is.
  ASSERT_OK(ExportFolder(*own.model, tokenizer_json_, companions_, Place("again")));
  EXPECT_EQ(ReadJson("again/config.json")["tie_word_embeddings"], false);
  // The same head twice is one.
  ASSERT_OK(Store({{"lm_head.weight", embedding.clone()}}, *model_));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder tied, LoadFolder(Place("out")));
  EXPECT_TRUE(tied.model->config().tie_word_embeddings);
  EXPECT_TRUE(tied.ignored.empty());
  ExpectLoads("out", Same);
  // Of another shape it is no head.
  ASSERT_OK(Store({{"lm_head.weight", at::ones({3, 4})}}, *model_));
  EXPECT_STATUS(LoadFolder(Place("out")), kInvalid, "tensor lm_head.weight has shape [3, 4]");
}

TEST_F(StoredTensorsTest, RotaryFrequenciesAreLeftOutAndAllElseIsRefused) {
  ASSERT_OK(Export("out"));
  ASSERT_OK(Store({{"model.layers.0.self_attn.rotary_emb.inv_freq", at::ones({3})},
                   {"model.layers.1.self_attn.rotary_emb.inv_freq", at::ones({3})}},
                  *model_));
  ExpectLoads("out", Same);
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place("out")));
  EXPECT_EQ(loaded.ignored, std::vector<std::string>{"2 tensors rotary_emb.inv_freq: computed from config.json"});
  for (const char* name :
       {"model.layers.0.self_attn.q_norm.weight", "model.layers.2.mlp.up_proj.weight", "lm_head.bias",
        "model.layers.0.self_attn.o_proj.bias", "_orig_mod.lm_head.weight", "score.weight"}) {
    ASSERT_OK(Store({{name, at::ones({3})}}, *model_));
    EXPECT_STATUS(LoadFolder(Place("out")), kInvalid, std::string("tensor ") + name + " is unexpected");
  }
}

// The run skipped every update of every stage instead.
TEST_F(StoredTensorsTest, AWeightThatIsNotFiniteIsNamed) {
  ASSERT_OK(Export("out"));
  for (const double value : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    const at::Tensor norm = at::ones({config_.hidden_size});
    norm[3].fill_(value);
    ASSERT_OK(Store({{"model.norm.weight", norm}}, *model_));
    EXPECT_STATUS(LoadFolder(Place("out")), kInvalid,
                  "model.safetensors: tensor model.norm.weight holds infinities or values that are no numbers");
  }
}

TEST_F(FolderTest, WhatWasDownloadedInPlaceOfAFileIsNamed) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3554214621\n";
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json"}) {
    ASSERT_OK(Export("out"));
    ASSERT_OK(WriteFileSynced(Place(std::string("out/") + name), pointer));
    EXPECT_STATUS(LoadFolder(Place("out")), kInvalid,
                  std::string(name) + " is a Git LFS pointer to a file of 3554214621");
    fs::remove_all(Place("out"));
  }
}

TEST_F(FolderTest, AWrongTotalSizeAndEndTokensElsewhereAreSaidAndLoaded) {
  companions_ = {{"generation_config.json", R"({"eos_token_id":[1,0]})"}};
  ASSERT_OK(Export("out", {.max_shard_bytes = 5000}));
  json index = ReadJson("out/model.safetensors.index.json"), config = ReadJson("out/config.json");
  index["metadata"]["total_size"] = 1;
  config["eos_token_id"] = nullptr;
  config["attention_dropout"] = 0.1;
  ASSERT_OK(WriteFileSynced(Place("out/model.safetensors.index.json"), index.dump()));
  ASSERT_OK(WriteFileSynced(Place("out/config.json"), config.dump()));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder loaded, LoadFolder(Place("out")));
  EXPECT_EQ(loaded.model->config().eos_token_ids, (std::vector<int64_t>{1, 0}));
  ASSERT_EQ(loaded.ignored.size(), 2u);
  EXPECT_EQ(loaded.ignored[0], "attention_dropout 0.1: dropout is not applied");
  EXPECT_EQ(loaded.ignored[1].rfind("metadata.total_size 1: the tensors have", 0), 0u);
}

TEST_F(FolderTest, NamesWhatIsMissingOrDoesNotFit) {
  const auto load = [&] { return LoadFolder(Place("out")); };
  EXPECT_STATUS(load(), absl::StatusCode::kNotFound, "out/config.json");
  ASSERT_OK(Export("out"));
  const char* const file = "out/model.safetensors";
  WriteTensors(file, at::kFloat, "F32", [](int i) { return i != 3; });
  EXPECT_STATUS(load(), kInvalid, "tensor model.layers.0.self_attn.k_proj.weight is missing");
  WriteTensors(file, at::kInt, "I32", [](int) { return true; });
  EXPECT_STATUS(load(), kInvalid, "is I32; F32, BF16 and F16 can be read");
  WriteTensors(
      file, at::kFloat, "F32", [](int) { return true; }, "surprise");
  EXPECT_STATUS(load(), kInvalid, "tensor surprise is unexpected");
  ASSERT_OK(WriteFileSynced(Place(file), WriteSafetensors({{"model.norm.weight", "F32", {1}, "1234"}})));
  EXPECT_STATUS(load(), kInvalid, "parameters, but the weights have only 4 bytes");
  ASSERT_OK(WriteFileSynced(Place(file), "junk"));
  EXPECT_STATUS(load(), kInvalid, "model.safetensors: safetensors: the file has 4 bytes");
  fs::remove(Place(file));
  EXPECT_STATUS(load(), absl::StatusCode::kNotFound, "neither model.safetensors nor model-*.safetensors");
}

TEST_F(FolderTest, AConfigurationMuchLargerThanItsWeightsAllocatesNothing) {
  ASSERT_OK(Export("out"));
  json config = ReadJson("out/config.json");
  config["num_hidden_layers"] = 1024;
  config["intermediate_size"] = 1 << 20;
  ASSERT_OK(WriteFileSynced(Place("out/config.json"), config.dump()));
  EXPECT_STATUS(LoadFolder(Place("out")), kInvalid, "config.json describes a model of 773");
}

}  // namespace
}  // namespace grpo
