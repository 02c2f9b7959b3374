#include "trainer/ranks.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/ranks_testing.h"

namespace grpo {
namespace {

// A run of GRPO with a reference that is not the policy's start, so that it has a KL from the first step.
absl::StatusOr<RunConfig> Config() {
  const std::string shape = absl::StrCat(
      "{random_init: {tokenizer: ", std::filesystem::absolute("configs/tokenizers/chickens_rabbits.json").string(),
      ", hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, ", "num_kv_heads: 1}}");
  const std::string path = absl::StrCat(::testing::TempDir(), "/ranks_test.", ::getpid(), ".yaml");
  RETURN_IF_ERROR(WriteFileSynced(
      path, absl::StrCat("run: {name: ranks, seed: 3}\npolicies:\n  student: ", shape, "\n  reference: ", shape,
                         "\ndata:\n  problems: {source: chickens_rabbits}\nrewards:\n  rules: {rules: {math_answer: }}"
                         "\nstages:\n  - {name: learn, type: train, algorithm: grpo, policy: student, data: problems, "
                         "rewards: rules, steps: 9, kl_coefficient: 0.1, reference_policy: reference, "
                         "minibatches_per_iteration: 2, iterations_per_step: 2}\n")));
  ASSIGN_OR_RETURN(LoadedConfig loaded, LoadRunConfig(path));
  return std::move(loaded.config);
}

constexpr int kSteps = 3;
constexpr double kLearningRate = 1e-2;

// The followers have weights, the policy that is only read, moments and batches from rank 0 alone.
TEST(RanksTest, FollowersTakeTheStepsOfASingleRank) {
  ASSERT_OK_AND_ASSIGN(const RunConfig config, Config());
  const StepInput input = RandomRollouts(/*seed=*/5, /*num_groups=*/4, /*group_size=*/4);
  const auto alone = Collectives::SingleRank();
  ASSERT_OK_AND_ASSIGN(const auto expected, LeadFirstStage(*alone, config, input, kSteps, kLearningRate));
  EXPECT_GT(expected[0].metrics.at("kl"), 0);
  RunRanks(3, [&](Collectives& collectives) {
    if (collectives.rank() > 0) {
      EXPECT_OK(FollowRankZero(collectives, config));
      return;
    }
    // Each step compares the weights of all ranks.
    ASSERT_OK_AND_ASSIGN(const auto results, LeadFirstStage(collectives, config, input, kSteps, kLearningRate));
    for (int step = 0; step < kSteps; ++step) {
      for (const char* name : {"loss", "kl", "grad_norm", "reward"}) {
        const double value = expected[step].metrics.at(name);
        EXPECT_NEAR(results[step].metrics.at(name), value, 1e-4 * (1 + std::abs(value))) << name << " " << step;
      }
    }
  });
}

TEST(RanksTest, AFollowerRefusesAStageThatDoesNotExistAndAStepBeforeItsStage) {
  ASSERT_OK_AND_ASSIGN(const RunConfig config, Config());
  const auto follower_says = [&](const v1::RankCommand& command) {
    absl::Status said;
    RunRanks(2, [&](Collectives& collectives) {
      if (collectives.rank() == 0) {
        EXPECT_OK(collectives.Send(std::vector<std::string>(2, command.SerializeAsString())));
      } else {
        said = FollowRankZero(collectives, config);
      }
    });
    return said;
  };
  v1::RankCommand no_such_stage, too_early;
  no_such_stage.mutable_begin_training()->set_stage_index(1);
  too_early.mutable_train_step()->set_step(0);
  EXPECT_STATUS(follower_says(no_such_stage), absl::StatusCode::kInternal, "stage 1, which does not exist");
  EXPECT_STATUS(follower_says(too_early), absl::StatusCode::kInternal, "before the beginning of a stage");
}

}  // namespace
}  // namespace grpo
