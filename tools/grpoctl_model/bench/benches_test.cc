#include "tools/grpoctl_model/bench/benches.h"

#include <fstream>
#include <string>

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "model/families.h"
#include "model/threads.h"
#include "rollout/weight_channel.h"
#include "tools/grpoctl_model/bench/operators.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = 31;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 4;
  config.max_positions = 40;
  config.eos_token_ids = {1};
  return config;
}

class BenchesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(UseThreads(1));
    options_.random = ::testing::TempDir() + "/bench_config.json";
    std::ofstream(options_.random) << ModelConfigJson(TinyConfig());
  }

  BenchOptions options_ = {.prompts = 3,
                           .group = 2,
                           .prompt_tokens = 5,
                           .new_tokens = 6,
                           .repeats = 2,
                           .gemm_size = 32,
                           .stream_bytes = 1 << 16};
};

// What every report promises.
void ExpectConsistent(const BenchReport& report, int64_t repeats) {
  ASSERT_EQ(report.repeats.size(), static_cast<size_t>(repeats));
  for (const BenchRepeat& repeat : report.repeats) {
    EXPECT_GT(repeat.seconds, 0);
    EXPECT_GE(repeat.processor_seconds, 0);
    double sum = 0;
    for (const auto& [name, seconds] : repeat.phases) {
      EXPECT_GE(seconds, 0) << name;
      sum += seconds;
    }
    EXPECT_GT(sum, 0);
    EXPECT_LE(sum, repeat.seconds * 1.001);
  }
  ASSERT_TRUE(report.limits.has_value());
  EXPECT_GT(report.limits->gemm_float32_gflops, 0);
  EXPECT_GT(report.limits->gemm_bfloat16_gflops, 0);
  EXPECT_GT(report.limits->read_gb_per_s, 0);
  EXPECT_GT(report.limits->copy_gb_per_s, 0);
  EXPECT_GT(report.peak_memory_bytes, 0);
  EXPECT_GT(report.count, 0);
  const auto json = BenchJson(report);
  for (const char* field : {"bench", "setting", "repeats", "seconds", "processor_seconds", "phases",
                            "peak_memory_bytes", "figures", "limits", "load"})
    EXPECT_TRUE(json.contains(field)) << field;
  for (const auto& [name, work] : report.work) EXPECT_TRUE(json["phases"][name].contains("gemm_frac")) << name;
}

TEST_F(BenchesTest, RolloutSamplesEveryTokenWhateverEndTokenIsDrawn) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    // Fewer slots than completions too.
    for (const int64_t slots : {0, 4}) {
      options_.dtype = dtype;
      options_.slots = slots;
      ASSERT_OK_AND_ASSIGN(const BenchReport report, BenchRollout(options_));
      ExpectConsistent(report, 2);
      EXPECT_EQ(report.count, 3 * 2 * 6);
      for (const char* phase : {"prefill", "decode", "head", "sample"})
        EXPECT_GT(report.repeats[0].phases.at(phase), 0) << phase;
    }
  }
}

TEST_F(BenchesTest, StepIsTheLoopsOwnPhases) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    options_.dtype = dtype;
    ASSERT_OK_AND_ASSIGN(const BenchReport report, BenchStep(options_));
    ExpectConsistent(report, 2);
    for (const char* phase : {"forward", "head", "head_backward", "backward", "optimizer", "compare"})
      EXPECT_GT(report.repeats[0].phases.at(std::string("update/") + phase), 0) << phase;
    // A group's prompt is there once, and the last token of a sequence predicts nothing.
    EXPECT_EQ(report.figures["rows"], 3 * (5 + 2 * (6 - 1)));
    EXPECT_EQ(report.figures["targets"], 3 * 2 * 6);
    EXPECT_EQ(report.repeats[0].phases.count("publish/pack"), 0u);
    // On policy in the first step.
    const double rounding = dtype == at::kFloat ? 1e-4 : 1;
    EXPECT_LT(report.figures["logprob_abs_diff_max"].get<double>(), rounding);
  }
}

TEST_F(BenchesTest, AWholeStepPublishesSamplesAndScoresFirst) {
  options_.whole = true;
  ASSERT_OK_AND_ASSIGN(const BenchReport report, BenchStep(options_));
  ExpectConsistent(report, 2);
  for (const char* phase : {"publish/pack", "publish/transfer", "sample/decode", "score", "update/forward"})
    EXPECT_GT(report.repeats[0].phases.at(phase), 0) << phase;
  EXPECT_EQ(report.figures["targets"], 3 * 2 * 6) << "no completion ended early";
  EXPECT_LT(report.figures["logprob_abs_diff_max"].get<double>(), 1e-4) << "sampled with the weights that learn";
}

TEST_F(BenchesTest, PublishGoesOverEveryWeightChannel) {
  for (const std::string& channel : WeightChannelNames()) {
    options_.channel = channel;
    ASSERT_OK_AND_ASSIGN(const BenchReport report, BenchPublish(options_));
    ExpectConsistent(report, 2);
    EXPECT_EQ(report.setting["channel"], channel);
    EXPECT_GT(report.count, 4 * TinyConfig().NumParameters() - 1) << "bytes, float32";
    EXPECT_LE(report.figures["ready_seconds"]["max"].get<double>(),
              SpreadOf({report.repeats[0].seconds, report.repeats[1].seconds}).max);
  }
}

TEST_F(BenchesTest, AProfileNamesTheLongestOperators) {
  options_.profile = true;
  options_.repeats = 1;
  ASSERT_OK_AND_ASSIGN(const BenchReport step, BenchStep(options_));
  EXPECT_GT(step.figures["linears"]["seconds"], 0);
  EXPECT_GT(step.figures["linears"]["gemm_frac"], 0);
  double longest = 1e9;
  for (const auto& [name, sum] : step.figures["operators"].items()) {
    EXPECT_GT(sum["calls"], 0) << name;
    EXPECT_LE(sum["seconds"], longest) << name;
    longest = sum["seconds"];
  }
  ASSERT_OK_AND_ASSIGN(const BenchReport rollout, BenchRollout(options_));
  EXPECT_FALSE(rollout.figures["operators"].empty());
}

TEST_F(BenchesTest, WhatCannotBeDoneIsSaid) {
  BenchOptions options = options_;
  options.new_tokens = 36;
  EXPECT_STATUS(BenchRollout(options), absl::StatusCode::kInvalidArgument, "context of 40");
  options = options_;
  options.channel = "carrier pigeon";
  EXPECT_STATUS(BenchPublish(options), absl::StatusCode::kInvalidArgument, "carrier pigeon");
  options = options_;
  options.random = "nowhere.json";
  EXPECT_STATUS(BenchStep(options), absl::StatusCode::kNotFound, "nowhere.json");
  options.random = "";
  options.model = "nowhere";
  EXPECT_STATUS(BenchRollout(options), absl::StatusCode::kNotFound, "nowhere");
}

TEST(WorkTest, CountsTwoOperationsForEachParameterOfAMatrix) {
  const ModelConfig config = TinyConfig();
  const double vectors = 2 * (2 * 16) + 16 + 2 * (4 + 2 * 2) * 4;  // norms and biases
  EXPECT_EQ(LinearFlopPerToken(config) + HeadFlopPerToken(config),
            2 * (static_cast<double>(config.NumParameters()) - vectors));
  EXPECT_EQ(LinearBytes(config, at::kBFloat16), LinearFlopPerToken(config));
}

TEST(WorkTest, SecondsThatOnlyGrowAreAddedUp) {
  PhaseSeconds sum = {{"a", 1}};
  AddDifference({{"a", 2}}, {{"a", 5}, {"b", 7}}, &sum);
  EXPECT_EQ(sum, (PhaseSeconds{{"a", 4}, {"b", 7}}));
}

TEST(WorkTest, PromptsFollowFromTheSeed) {
  const BenchOptions options = {.prompt_tokens = 9, .seed = 3}, other = {.prompt_tokens = 9, .seed = 4};
  EXPECT_EQ(PromptIds(options, 100, 1), PromptIds(options, 100, 1));
  EXPECT_NE(PromptIds(options, 100, 1), PromptIds(options, 100, 2));
  EXPECT_NE(PromptIds(options, 100, 1), PromptIds(other, 100, 1));
  for (const uint32_t id : PromptIds(options, 7, 0)) EXPECT_LT(id, 7u);
}

}  // namespace
}  // namespace grpo
