#include "model/init.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/status_testing.h"
#include "model/weights/folder.h"

namespace grpo {
namespace {

PolicyOptions RandomOptions() {
  PolicyOptions options;
  options.random_init = {.tokenizer = "configs/tokenizers/chickens_rabbits.json",
                         .hidden_size = 64,
                         .intermediate_size = 192,
                         .num_layers = 3,
                         .num_heads = 4,
                         .num_kv_heads = 4};
  return options;
}

TEST(MakePolicyTest, BuildsThePrototypesModel) {
  ASSERT_OK_AND_ASSIGN(const InitializedModel made, MakePolicy(RandomOptions(), 5));
  const ModelConfig& config = made.model->config();
  EXPECT_EQ(config.vocab_size, 58);
  EXPECT_EQ(config.eos_token_ids, std::vector<int64_t>{1});
  EXPECT_EQ(config.head_dim, 16);
  // The prototype's 64 x 3 base: embedding 58 x 64; a layer's qkv, its bias, o, SwiGLU and norms; the last norm.
  EXPECT_EQ(config.NumParameters(), 58 * 64 + 3 * (64 * 192 + 192 + 64 * 64 + 3 * 64 * 192 + 2 * 64) + 64);
  ASSERT_OK_AND_ASSIGN(const InitializedModel again, MakePolicy(RandomOptions(), 5));
  EXPECT_TRUE(again.model->NamedParameters()[0].second.equal(made.model->NamedParameters()[0].second));
}

TEST(MakePolicyTest, ReadsAFolder) {
  ASSERT_OK_AND_ASSIGN(const InitializedModel made, MakePolicy(RandomOptions(), 5));
  const Companions companions = {{"chat_template.jinja", "{{ messages }}"}};
  const std::string folder = testing::TempDir() + "init." + std::to_string(::getpid());
  ASSERT_OK(ExportFolder(*made.model, made.tokenizer_json, companions, folder));
  PolicyOptions options;
  options.path = folder;
  ASSERT_OK_AND_ASSIGN(const InitializedModel read, MakePolicy(options, 6));
  EXPECT_EQ(read.tokenizer_json, made.tokenizer_json);
  EXPECT_EQ(read.companions.at("chat_template.jinja"), "{{ messages }}");
  EXPECT_TRUE(read.model->NamedParameters()[3].second.equal(made.model->NamedParameters()[3].second));
  std::filesystem::remove_all(folder);
}

TEST(MakePolicyTest, SaysWhatIsWrong) {
  PolicyOptions options;
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kInvalidArgument, "exactly one of path and random_init");
  options.path = "/nowhere";
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kNotFound, "/nowhere/config.json");
  options = RandomOptions();
  options.path = "/nowhere";
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kInvalidArgument, "exactly one of path and random_init");
  options = RandomOptions();
  options.random_init.tokenizer = "/nowhere.json";
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kNotFound, "/nowhere.json");
  options = RandomOptions();
  options.random_init.eos_token = "<end>";
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kInvalidArgument,
                "eos_token: the vocabulary has no token \"<end>\"");
  options = RandomOptions();
  options.random_init.num_heads = 5;
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kInvalidArgument,
                "hidden_size 64 is not a multiple of num_heads 5");
  options = RandomOptions();
  options.random_init.num_kv_heads = 3;
  EXPECT_STATUS(MakePolicy(options, 1), absl::StatusCode::kInvalidArgument, "num_kv_heads 3 does not divide");
}

}  // namespace
}  // namespace grpo
