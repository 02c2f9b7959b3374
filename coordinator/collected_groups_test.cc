#include "coordinator/collected_groups.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(CollectedGroups, TellsEachGroupsAttemptAndHolder) {
  CollectedGroups groups;
  EXPECT_EQ(groups.Find("rl", 0), nullptr);
  groups.Add("rl", 3, {.attempt = 1, .holder = "a"});
  groups.Add("rl", 4, {.attempt = 1, .holder = "a"});
  groups.Add("rl", 5, {.attempt = 2, .holder = "a"});
  groups.Add("rl", 6, {.attempt = 2, .holder = "b"});
  EXPECT_EQ(groups.num_runs(), 3);
  EXPECT_EQ(groups.Find("rl", 2), nullptr);
  EXPECT_EQ(groups.Find("rl", 4)->attempt, 1);
  EXPECT_EQ(groups.Find("rl", 4)->holder, "a");
  EXPECT_EQ(groups.Find("rl", 5)->attempt, 2);
  EXPECT_EQ(groups.Find("rl", 6)->holder, "b");
  EXPECT_EQ(groups.Find("rl", 7), nullptr);
  EXPECT_EQ(groups.Find("eval", 4), nullptr);
}

// Every group's attempt is known for good, whatever the order in which they come; its holder among the newest.
TEST(CollectedGroups, ForgetsOldHoldersButNoAttempt) {
  constexpr int64_t kGroups = 3 * CollectedGroups::kMaxHolderRuns;
  std::vector<int64_t> order(kGroups);
  std::iota(order.begin(), order.end(), int64_t{0});
  // Neighbours swap places here and there.
  Rng rng(1);
  for (int64_t i = 1; i < kGroups; ++i) {
    if (rng.Below(4) == 0) std::swap(order[i - 1], order[i]);
  }
  // Every hundredth group took two attempts; no two neighbours have one holder.
  const auto attempt_of = [](int64_t index) -> CollectedGroups::Attempt {
    return {.attempt = index % 100 == 7 ? 2 : 1, .holder = absl::StrCat("worker-", index % 3)};
  };
  CollectedGroups groups;
  for (const int64_t index : order) groups.Add("rl", index, attempt_of(index));
  int64_t num_holders = 0;
  for (int64_t index = 0; index < kGroups; ++index) {
    const CollectedGroups::Attempt* const found = groups.Find("rl", index);
    ASSERT_NE(found, nullptr) << index;
    ASSERT_EQ(found->attempt, attempt_of(index).attempt) << index;
    if (found->holder.empty()) continue;
    ASSERT_EQ(found->holder, attempt_of(index).holder) << index;
    ++num_holders;
  }
  EXPECT_EQ(num_holders, CollectedGroups::kMaxHolderRuns);
  // Beside them: two runs at most for each group that took two attempts.
  EXPECT_LE(groups.num_runs(), CollectedGroups::kMaxHolderRuns + 2 * (kGroups / 100 + 1));
}

}  // namespace
}  // namespace grpo
