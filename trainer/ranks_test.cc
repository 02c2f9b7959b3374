#include "trainer/ranks.h"

#include <cmath>

#include "common/status_testing.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/ranks_testing.h"

namespace grpo {
namespace {

constexpr int kSteps = 3;
constexpr double kLearningRate = 1e-2;

// The followers have weights, the policy that is only read, moments and batches from rank 0 alone.
TEST(RanksTest, FollowersTakeTheStepsOfASingleRank) {
  ASSERT_OK_AND_ASSIGN(const RunConfig config, SmallGrpoRun());
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
  ASSERT_OK_AND_ASSIGN(const RunConfig config, SmallGrpoRun());
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
