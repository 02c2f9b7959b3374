// An algorithm with an option and a frozen policy, and a loss with an option, each added by one file and one line.
#include <unistd.h>

#include <array>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/loss/loss.h"
#include "trainer/ranks.h"
#include "trainer/ranks_testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

constexpr char kYaml[] = R"(run: {name: toy, seed: 3}
policies:
  student: {random_init: SHAPE}
  teacher: {random_init: SHAPE}
data:
  problems: {source: chickens_rabbits}
rewards:
  rules: {rules: {math_answer: }}
stages:
  - {name: learn, type: train, algorithm: toy_distill, policy: student, data: problems, rewards: rules, steps: 9, teacher_policy: teacher, strength: 0.5}
)";

// kYaml with one text replaced by another.
absl::StatusOr<LoadedConfig> Load(const std::string& from = "", const std::string& to = "") {
  const std::string tokenizer = std::filesystem::absolute("configs/tokenizers/chickens_rabbits.json").string();
  std::string yaml = absl::StrReplaceAll(
      kYaml, {{"SHAPE", absl::StrCat("{tokenizer: ", tokenizer,
                                     ", hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, "
                                     "num_kv_heads: 1}")}});
  if (!from.empty()) yaml = absl::StrReplaceAll(yaml, {{from, to}});
  const std::string path = absl::StrCat(::testing::TempDir(), "/toy_test.", ::getpid(), ".yaml");
  RETURN_IF_ERROR(WriteFileSynced(path, yaml));
  return LoadRunConfig(path);
}

TEST(ToyTest, TheListsHoldTheToysBehindTheProductsOwn) {
  EXPECT_EQ(ListAlgorithms().front().name, "grpo");
  EXPECT_EQ(ListAlgorithms().back().name, "toy_distill");
  EXPECT_EQ(ListLosses().back().name, "toy_gap");
}

TEST(ToyTest, ItsOptionsAreReadAndEveryKeyIsResolved) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load());
  for (const char* line : {"    strength: 0.5\n", "    groups_per_step: 4\n", "    teacher_policy: \"teacher\"\n"})
    EXPECT_THAT(loaded.resolved_yaml, HasSubstr(line));
}

TEST(ToyTest, WhatItNamesIsCheckedWhereEveryReferenceIs) {
  for (const auto& [from, to, message] : std::vector<std::array<std::string, 3>>{
           {"policy: teacher", "policy: techer", "stages.0.teacher_policy: there is no policies.techer; did you mean"},
           {"policy: teacher", "policy: student", "stages.0.teacher_policy: is the policy that is trained"},
           {"rewards: rules,", "rewards: ruls,", "stages.0.rewards: there is no rewards.ruls; did you mean rules?"},
           {"strength:", "strenth:", "stages.0.strenth: unknown key; did you mean strength?"},
           {"strength: 0.5", "strength: -1", "stages.0.strength: is -1"},
           {"toy_distill", "toy_distil", "there is no algorithm toy_distil; did you mean toy_distill?"}}) {
    EXPECT_STATUS(Load(from, to), absl::StatusCode::kInvalidArgument, message);
  }
}

// The loss's own bound is below the algorithm's: the trainer says so before it takes a step.
TEST(ToyTest, TheLossChecksItsOwnOption) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load("strength: 0.5", "strength: 1001"));
  const auto alone = Collectives::SingleRank();
  EXPECT_STATUS(LeadFirstStage(*alone, loaded.config, RandomRollouts(1, 2, 2), 1, 1e-2),
                absl::StatusCode::kInvalidArgument, "loss toy_gap: configuration: strength: is 1001");
}

TEST(ToyTest, StepsCloseTheGapToTheTeacherOnOneRankAndOnTwo) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load());
  const StepInput input = RandomRollouts(/*seed=*/6, /*num_groups=*/4, /*group_size=*/2);
  constexpr int kSteps = 6;
  const auto alone = Collectives::SingleRank();
  ASSERT_OK_AND_ASSIGN(const auto expected, LeadFirstStage(*alone, loaded.config, input, kSteps, 1e-2));
  const double first = expected.front().metrics.at("toy_gap");
  EXPECT_LT(expected.back().metrics.at("toy_gap"), first);
  EXPECT_NEAR(expected.front().metrics.at("loss"), 0.5 * first, 1e-6 * first);
  RunRanks(2, [&](Collectives& collectives) {
    if (collectives.rank() > 0) {
      EXPECT_OK(FollowRankZero(collectives, loaded.config));
      return;
    }
    ASSERT_OK_AND_ASSIGN(const auto results, LeadFirstStage(collectives, loaded.config, input, kSteps, 1e-2));
    for (int step = 0; step < kSteps; ++step) {
      EXPECT_NEAR(results[step].metrics.at("toy_gap"), expected[step].metrics.at("toy_gap"), 1e-3 * first) << step;
    }
  });
}

}  // namespace
}  // namespace grpo
