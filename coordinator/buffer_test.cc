// What the coordinator holds at most, and that nobody waits for ever because of it.
#include "common/status_testing.h"
#include "coordinator/coordinator.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

CoordinatorOptions TightBuffer() {
  CoordinatorOptions options;
  options.max_buffered_groups = 4;
  // Any result fills it.
  options.max_buffered_bytes = 1;
  return options;
}

class BufferTest : public CoordinatorFixture {
 protected:
  BufferTest() : CoordinatorFixture(TightBuffer()) {}

  void SubmitAll(const std::vector<v1::Lease>& leases, const std::string& worker) {
    for (const v1::Lease& lease : leases) ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_ACCEPTED);
  }
};

TEST_F(BufferTest, RefusesGroupsBeyondItsBoundAndSaysWhatToDo) {
  const std::string worker = Join("rollout-0");
  EXPECT_STATUS(coordinator_.Offer(TestGroups("rl", 0, 5)), absl::StatusCode::kResourceExhausted, "at most 4 may be");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 3)));
  // Leased and ready groups count.
  const std::vector<v1::Lease> leases = Take(worker, 2);
  ExpectSubmit(leases[0], worker, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_STATUS(coordinator_.Offer(TestGroups("rl", 3, 2)), absl::StatusCode::kResourceExhausted,
                "2 groups were offered and 3 are buffered");
  ASSERT_OK(coordinator_.Collect("rl", 0, 1, absl::ZeroDuration()));
  EXPECT_OK(coordinator_.Offer(TestGroups("rl", 3, 2)));
}

TEST_F(BufferTest, LeasesOnlyWhatTheTrainerWaitsForWhileResultsFillIt) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  SubmitAll(Take(worker), worker);
  EXPECT_GT(coordinator_.Counters().ready_bytes(), 0);
  EXPECT_THAT(Take(worker), IsEmpty());
  EXPECT_STATUS(coordinator_.Collect("rl", 0, 2, absl::ZeroDuration()), absl::StatusCode::kDeadlineExceeded, "group 1");
  const std::vector<v1::Lease> wanted = Take(worker, 9);
  ASSERT_THAT(IndicesOf(wanted), ElementsAre(1));
  SubmitAll(wanted, worker);
  EXPECT_THAT(Take(worker, 9), IsEmpty());
  ASSERT_OK(coordinator_.Collect("rl", 0, 2, absl::ZeroDuration()));
  EXPECT_EQ(coordinator_.Counters().ready_bytes(), 0);
  EXPECT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(2, 3));
}

TEST_F(BufferTest, TakesEveryResultThatItLeased) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  SubmitAll(Take(worker, 4), worker);
  EXPECT_EQ(coordinator_.Counters().num_ready(), 4);
}

TEST_F(BufferTest, AWaitedForGroupGetsThroughAFullBufferAlsoAsASuspect) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  const std::string first = Join("rollout-0", 1);
  const std::vector<v1::Lease> leases = Take(first, 3);
  SubmitAll({leases[1], leases[2]}, first);
  const std::string second = Join("rollout-0", 2);
  EXPECT_THAT(Take(second), IsEmpty());
  EXPECT_FALSE(coordinator_.Collect("rl", 0, 3, absl::ZeroDuration()).ok());
  const std::vector<v1::Lease> suspect = Take(second, 9);
  ASSERT_THAT(IndicesOf(suspect), ElementsAre(0));
  SubmitAll(suspect, second);
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 3, absl::ZeroDuration()));
  EXPECT_EQ(groups.size(), 3u);
}

TEST_F(BufferTest, QuarantinedGroupsTakeNoRoom) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  Take(Join("rollout-0", 1), 1);
  Take(Join("rollout-0", 2), 1);
  Join("rollout-0", 3);
  EXPECT_EQ(coordinator_.Counters().num_quarantined_total(), 1);
  EXPECT_OK(coordinator_.Offer(TestGroups("rl", 4, 1)));
}

}  // namespace
}  // namespace grpo
