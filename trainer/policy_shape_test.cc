#include "trainer/policy_shape.h"

#include <sys/stat.h>

#include <filesystem>
#include <functional>

#include "common/files.h"
#include "common/status_testing.h"
#include "model/families.h"

namespace grpo {
namespace {

constexpr char kTokenizer[] = R"({"decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}})";

class PolicyShapeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(dir_);
    model_.vocab_size = 58;
    model_.hidden_size = 64;
    model_.intermediate_size = 192;
    model_.num_layers = 3;
    model_.num_heads = 4;
    model_.num_kv_heads = 2;
    model_.head_dim = 16;
    model_.max_positions = 512;
    model_.eos_token_ids = {1};
    config_.policies["base"].path = dir_;
    config_.policies["r1_zero"].initialize_from = "base";
    config_.policies["student"].initialize_from = "r1_zero";
    Write("config.json", ModelConfigJson(model_));
    Write("tokenizer.json", kTokenizer);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, const std::string& content) const {
    ASSERT_OK(MakeFolders(dir_));
    ASSERT_OK(WriteFileSynced(dir_ + "/" + name, content));
  }

  const std::string dir_ = ::testing::TempDir() + "/shape";
  ModelConfig model_;
  RunConfig config_;
};

TEST_F(PolicyShapeTest, FollowsInitializeFromToAFolder) {
  ASSERT_OK_AND_ASSIGN(const PolicyShape shape, ReadPolicyShape(config_, "student"));
  EXPECT_EQ(shape.config.NumParameters(), model_.NumParameters());
  EXPECT_EQ(shape.origin, "base");
  EXPECT_EQ(shape.tokenizer->vocab_size(), 2);
}

TEST_F(PolicyShapeTest, RefusesAVocabularyLargerThanTheEmbedding) {
  // Two tokens are more than an embedding of one row has.
  model_.vocab_size = 1;
  model_.eos_token_ids = {0};
  Write("config.json", ModelConfigJson(model_));
  EXPECT_STATUS(ReadPolicyShape(config_, "r1_zero"), absl::StatusCode::kInvalidArgument,
                "tokenizer.json has 2 tokens, and vocab_size of config.json is 1");
}

TEST_F(PolicyShapeTest, RefusesCirclesAndUnknownNames) {
  config_.policies["a"].initialize_from = "b";
  config_.policies["b"].initialize_from = "a";
  config_.policies["c"].initialize_from = "nobody";
  EXPECT_STATUS(ReadPolicyShape(config_, "a"), absl::StatusCode::kInvalidArgument, "circle");
  EXPECT_STATUS(ReadPolicyShape(config_, "c"), absl::StatusCode::kInvalidArgument, "nobody");
}

TEST_F(PolicyShapeTest, WhatWasDownloadedInPlaceOfAFileIsNamed) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3554214621\n";
  for (const char* name : {"config.json", "tokenizer.json"}) {
    SetUp();
    Write(name, pointer);
    EXPECT_STATUS(ReadPolicyShape(config_, "base"), absl::StatusCode::kInvalidArgument, "Git LFS pointer");
  }
}

// `validate` took them, or waited for the pipe, and the run then refused them.
TEST_F(PolicyShapeTest, WhatIsDamagedTooLargeOrNoFileIsNamed) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  for (const std::string name : {"config.json", "tokenizer.json", "generation_config.json"}) {
    const std::string path = dir_ + "/" + name;
    SetUp();
    const std::string content = ReadFile(path).value_or("{}");
    Write(name, content + std::string(100, '\0'));
    EXPECT_STATUS(ReadPolicyShape(config_, "base"), kInvalid, "is zero, as where a part is missing");
    Write(name, content);
    std::filesystem::resize_file(path, int64_t{1} << 30);
    EXPECT_STATUS(ReadPolicyShape(config_, "base"), kInvalid, name + " is longer than");
    std::filesystem::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_STATUS(ReadPolicyShape(config_, "base"), kInvalid, name + " is a pipe, not a file");
    std::filesystem::remove(path);
    std::filesystem::create_symlink("/dev/zero", path);
    EXPECT_STATUS(ReadPolicyShape(config_, "base"), kInvalid, name + " is a device, not a file");
  }
}

// Every way in which the files themselves show that a later stage could not load them.
TEST_F(PolicyShapeTest, WeightsThatAreNotThereOrTooSmallAreRefusedBeforeAnyoneLoadsThem) {
  EXPECT_STATUS(CheckPolicyWeights(config_, "student", model_, {}), absl::StatusCode::kNotFound, "policies.base");
  Write("model.safetensors", "");
  EXPECT_STATUS(CheckPolicyWeights(config_, "student", model_, {}), absl::StatusCode::kInvalidArgument,
                "policies.base");
  Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3554214621\n");
  EXPECT_STATUS(CheckPolicyWeights(config_, "student", model_, {}), absl::StatusCode::kInvalidArgument,
                "Git LFS pointer");
  const std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  // Cut in the middle of the header, and of the data.
  for (const size_t cut : {size_t{20}, file.size() + header.size() + 2}) {
    Write("model.safetensors", (file + header + std::string(4, '\0')).substr(0, cut));
    EXPECT_STATUS(CheckPolicyWeights(config_, "student", model_, {}), absl::StatusCode::kInvalidArgument,
                  "model.safetensors: safetensors: ");
  }
  Write("model.safetensors", file + header + std::string(4, '\0'));
  EXPECT_STATUS(CheckPolicyWeights(config_, "student", model_, {}), absl::StatusCode::kInvalidArgument,
                "but the weights have only 4 bytes");
}

TEST_F(PolicyShapeTest, APolicyThatIsThereNeedsNoFiles) {
  EXPECT_OK(CheckPolicyWeights(config_, "student", model_, {"student"}));
  EXPECT_OK(CheckPolicyWeights(config_, "student", model_, {"r1_zero"}));
  EXPECT_OK(CheckPolicyWeights(config_, "student", model_, {"base"}));
  EXPECT_FALSE(CheckPolicyWeights(config_, "r1_zero", model_, {"student"}).ok());
}

}  // namespace
}  // namespace grpo
