#include "coordinator/lease_table.h"

#include <algorithm>
#include <functional>

#include "common/status_testing.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;
constexpr absl::Duration kTtl = absl::Seconds(30);

class LeaseTableTest : public ::testing::Test {
 protected:
  std::vector<v1::Lease> Take(const std::string& worker, int64_t max_groups = 1) {
    return table_.Take(worker, max_groups, /*max_completions=*/1 << 20, now_, samplable_);
  }

  void TakeAndAccept(const std::string& worker, int64_t max_groups) {
    for (const v1::Lease& lease : Take(worker, max_groups)) table_.Accept(lease.key(), ScoredGroup(), /*num_bytes=*/1);
  }

  // What Find says, in words.
  std::string Answer(const std::string& worker, const v1::LeaseKey& key) const {
    const absl::StatusOr<const v1::Lease*> found = table_.Find(worker, key);
    if (!found.ok()) return found.status().ToString();
    return *found == nullptr ? "duplicate" : "taken";
  }

  static v1::LeaseKey Key(int64_t group_index, int32_t attempt = 1) {
    v1::LeaseKey key = TestGroup("rl", group_index).key();
    key.set_attempt(attempt);
    key.set_epoch(3);
    return key;
  }

  LeaseTable table_{/*epoch=*/3, {.ttl = kTtl, .max_groups = 1 << 20, .max_ready_bytes = int64_t{1} << 40}};
  std::function<bool(const v1::Lease&)> samplable_ = [](const v1::Lease&) { return true; };
  absl::Duration now_;
};

// Whatever a worker may hand in late or again is answered in the same words before and after the group was collected.
TEST_F(LeaseTableTest, ACollectedGroupIsAnsweredAsOneThatIsStillThere) {
  ASSERT_OK(table_.Offer(TestGroups("rl", 0, 4)));
  // 0: at once. 1: in the second attempt, by another. 2: quarantined, dead with two. 3: of another worker.
  table_.Accept(Take("a")[0].key(), ScoredGroup(), 1);
  Take("a", 2);
  Take("c");
  table_.Accept(Key(3), ScoredGroup(), 1);
  now_ += kTtl;
  table_.Expire(now_, [](const std::string&) { return true; });
  ASSERT_EQ(IndicesOf(Take("b"))[0], 1);
  table_.Accept(Key(1, 2), ScoredGroup(), 1);
  ASSERT_EQ(IndicesOf(Take("b"))[0], 2);
  now_ += kTtl;
  table_.Expire(now_, [](const std::string&) { return true; });

  std::vector<std::pair<std::string, v1::LeaseKey>> calls;
  for (const std::string worker : {"a", "b", "c", "stranger"}) {
    for (int64_t group_index = 0; group_index <= 4; ++group_index) {
      for (const int32_t attempt : {0, 1, 2, 3}) calls.emplace_back(worker, Key(group_index, attempt));
    }
  }
  const auto answers = [&] {
    std::vector<std::string> all;
    for (const auto& [worker, key] : calls) all.push_back(Answer(worker, key));
    return all;
  };
  const std::vector<std::string> before = answers();
  EXPECT_EQ(std::count(before.begin(), before.end(), "duplicate"), 3);
  EXPECT_EQ(std::count(before.begin(), before.end(), "taken"), 0);
  ASSERT_OK_AND_ASSIGN(const std::vector<ScoredGroup> collected, table_.Collect("rl", 0, 4));
  EXPECT_EQ(collected.size(), 3u);
  EXPECT_EQ(answers(), before);

  EXPECT_FALSE(table_.Renew("a", Key(0), now_));
  EXPECT_FALSE(table_.IsReady("rl", 0));
  EXPECT_FALSE(table_.IsDone("rl", 0));
  for (int64_t group_index = 0; group_index < 4; ++group_index) {
    EXPECT_STATUS(table_.Offer({TestGroup("rl", group_index)}), absl::StatusCode::kAlreadyExists, "offered before");
    EXPECT_STATUS(table_.CheckCollectable("rl", group_index, 1), kRefused, "was collected before");
  }
}

TEST_F(LeaseTableTest, MemoryIsThatOfTheGroupsInWorkHoweverManyWereDone) {
  constexpr int64_t kSteps = 2000, kGroups = 32;
  int64_t most_records = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    ASSERT_OK(table_.Offer(TestGroups("rl", step * kGroups, kGroups)));
    // Three workers take turns, which is the worst for neighbours that are remembered together.
    for (int64_t i = 0; i < kGroups; ++i) TakeAndAccept(absl::StrCat("rollout-", (step + i) % 3), 1);
    ASSERT_OK(table_.Collect("rl", step * kGroups, kGroups));
    most_records = std::max(most_records, table_.num_records());
  }
  EXPECT_GT(kSteps * kGroups, 3 * CollectedGroups::kMaxHolderRuns);  // or the test shows nothing
  EXPECT_LE(most_records, CollectedGroups::kMaxHolderRuns + kGroups);
  EXPECT_EQ(Answer("rollout-0", Key(0)), "duplicate");
  EXPECT_EQ(Answer("rollout-0", Key(kSteps * kGroups - 1, 2)),
            absl::StrCat("FAILED_PRECONDITION: attempt 2 at group ", kSteps * kGroups - 1,
                         " of stage \"rl\" ran out and attempt 1 was leased since: drop it"));
}

TEST_F(LeaseTableTest, OneWorkersGroupsAreOneRecord) {
  constexpr int64_t kSteps = 500, kGroups = 32;
  for (int64_t step = 0; step < kSteps; ++step) {
    ASSERT_OK(table_.Offer(TestGroups("rl", step * kGroups, kGroups)));
    TakeAndAccept("rollout-0", kGroups);
    ASSERT_OK(table_.Collect("rl", step * kGroups, kGroups));
  }
  EXPECT_EQ(table_.num_records(), 1);
}

TEST_F(LeaseTableTest, PassesByWhatCannotBeSampledNow) {
  ASSERT_OK(table_.Offer(TestGroups("rl", 0, 3)));
  samplable_ = [](const v1::Lease& group) { return group.key().group_index() == 1; };
  EXPECT_TRUE(table_.CanTake("a", samplable_));
  EXPECT_THAT(IndicesOf(Take("a", 9)), ::testing::ElementsAre(1));
  EXPECT_FALSE(table_.CanTake("a", samplable_));
  EXPECT_EQ(table_.num_pending(), 2);
}

}  // namespace
}  // namespace grpo
