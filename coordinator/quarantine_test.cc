// Prompts that kill their workers: who is blamed, who is left alone with whom, and what the trainer hears of it.
#include <chrono>

#include "common/status_testing.h"
#include "coordinator/coordinator.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;
constexpr absl::Duration kTtl = absl::Seconds(30);

using QuarantineTest = CoordinatorFixture;

TEST_F(QuarantineTest, AGroupThatKillsTwoWorkersIsLeftOutAndItsNeighboursAreNot) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  EXPECT_THAT(IndicesOf(Take(Join("rollout-0", 1), 9)), ElementsAre(0, 1, 2, 3));
  // Any of the four may have killed it: each is tried alone.
  const std::string second = Join("rollout-0", 2);
  const std::vector<v1::Lease> innocent = Take(second, 9);
  ASSERT_THAT(IndicesOf(innocent), ElementsAre(0));
  EXPECT_THAT(Take(second, 9), IsEmpty());
  ExpectSubmit(innocent[0], second, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_THAT(IndicesOf(Take(second, 9)), ElementsAre(1));
  EXPECT_THAT(coordinator_.TakeQuarantined(), IsEmpty());

  const std::string third = Join("rollout-0", 3);
  const std::vector<QuarantinedGroup> quarantined = coordinator_.TakeQuarantined();
  ASSERT_EQ(quarantined.size(), 1u);
  EXPECT_EQ(quarantined[0].lease.key().group_index(), 1);
  EXPECT_EQ(quarantined[0].lease.key().attempt(), 2);
  EXPECT_EQ(quarantined[0].lease.prompt().text(), "problem 1");
  EXPECT_THAT(quarantined[0].dead_workers, ElementsAre("rollout-0.1@3", "rollout-0.2@3"));
  EXPECT_THAT(coordinator_.TakeQuarantined(), IsEmpty());

  for (const int64_t index : {2, 3}) {
    const std::vector<v1::Lease> alone = Take(third, 9);
    ASSERT_THAT(IndicesOf(alone), ElementsAre(index));
    ExpectSubmit(alone[0], third, v1::SUBMIT_RESULT_ACCEPTED);
  }
  EXPECT_THAT(Take(third, 9), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 4, absl::ZeroDuration()));
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].lease.key().group_index(), 0);
  EXPECT_EQ(groups[1].lease.key().group_index(), 2);
  EXPECT_EQ(groups[2].lease.key().group_index(), 3);
  EXPECT_EQ(coordinator_.Counters().num_quarantined_total(), 1);
  EXPECT_STATUS(coordinator_.Collect("rl", 1, 1, absl::InfiniteDuration()), kRefused, "was collected before");
}

TEST_F(QuarantineTest, ASuspectGoesToAFreeWorkerAndOthersPassItBy) {
  const std::string busy = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 5)));
  EXPECT_THAT(IndicesOf(Take(Join("rollout-0", 1))), ElementsAre(0));
  EXPECT_THAT(IndicesOf(Take(busy)), ElementsAre(1));
  const std::string again = Join("rollout-0", 2);
  EXPECT_THAT(IndicesOf(Take(busy, 2)), ElementsAre(2, 3));
  EXPECT_THAT(IndicesOf(Take(again, 9)), ElementsAre(0));
  EXPECT_THAT(Take(again, 9), IsEmpty());
  EXPECT_THAT(IndicesOf(Take(busy, 9)), ElementsAre(4));
}

TEST_F(QuarantineTest, AWorkerThatHoldsSomethingWaitsWhileOnlySuspectsAreThere) {
  const std::string busy = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  Take(Join("rollout-0", 1));
  Take(busy);
  Join("rollout-0", 2);
  v1::LeaseGroupsRequest request;
  request.set_worker_id(busy);
  request.set_max_groups(1);
  request.set_wait_ms(20);
  const auto before = std::chrono::steady_clock::now();
  ASSERT_OK_AND_ASSIGN(const v1::LeaseGroupsResponse response, coordinator_.LeaseGroups(request));
  EXPECT_EQ(response.leases_size(), 0);
  // It does not come back at once to ask again and again.
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(19));
}

TEST_F(QuarantineTest, AWorkerThatFellSilentIsBlamedWhenItsLeaseRunsOut) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  const std::string first = Join("rollout-0");
  const v1::Lease lease = Take(first)[0];
  clock_.Advance(kTtl);
  const std::string second = Join("rollout-1");
  const std::vector<v1::Lease> again = Take(second);
  ASSERT_THAT(IndicesOf(again), ElementsAre(0));
  clock_.Advance(kTtl);
  EXPECT_EQ(coordinator_.Counters().num_quarantined_total(), 1);
  EXPECT_THAT(coordinator_.TakeQuarantined()[0].dead_workers, ElementsAre("rollout-0.1@3", "rollout-1.1@3"));
  // A worker that comes back is told so, and changes nothing.
  EXPECT_EQ(Beat(second, again).size(), 1u);
  EXPECT_STATUS(Submit(again[0], second), kRefused, "is quarantined, rollout-0.1@3 and rollout-1.1@3 died with it");
  EXPECT_STATUS(Submit(lease, first), kRefused, "attempt 2");
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 1, absl::ZeroDuration()));
  EXPECT_THAT(groups, IsEmpty());
  EXPECT_STATUS(Submit(again[0], second), kRefused, "is quarantined");
}

TEST_F(QuarantineTest, ALiveWorkerWhoseLeasesRunOutIsNotBlamed) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  for (int round = 0; round < 3; ++round) {
    // Both together: neither is a suspect.
    ASSERT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(0, 1));
    for (absl::Duration t; t < kTtl; t += absl::Seconds(2)) {
      clock_.Advance(absl::Seconds(2));
      Beat(worker, {});
    }
  }
  EXPECT_EQ(coordinator_.Counters().num_expired_total(), 6);
}

TEST_F(QuarantineTest, AWorkerWithoutItsRewardServerBlamesNoPrompt) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  for (int attempt = 1; attempt <= 6; ++attempt) {
    const std::string worker = Join("rollout-0", attempt);
    const std::vector<v1::Lease> leases = Take(worker, 9);
    ASSERT_THAT(IndicesOf(leases), ElementsAre(0, 1));
    Beat(worker, leases, "reward server 127.0.0.1:41 unreachable", 1000);
    // It falls silent and its leases run out, or it is replaced before.
    clock_.Advance(attempt % 2 == 0 ? kTtl : absl::Seconds(3));
  }
  EXPECT_EQ(coordinator_.Counters().num_expired_total(), 6);
  EXPECT_EQ(coordinator_.Counters().num_quarantined_total(), 0);
}

TEST_F(QuarantineTest, AWorkerThatLeavesGivesItsLeasesBackAndBlamesNothing) {
  const std::string leaver = Join("rollout-0"), other = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 3)));
  const std::vector<v1::Lease> leases = Take(leaver, 2);
  v1::HeartbeatRequest last;
  last.set_worker_id(leaver);
  for (const v1::Lease& lease : leases) *last.add_active() = lease.key();
  last.set_leaving(true);
  ASSERT_OK(coordinator_.Heartbeat(last));
  // Its call for work that still waits gets none.
  v1::LeaseGroupsRequest request;
  request.set_worker_id(leaver);
  request.set_max_groups(1);
  EXPECT_STATUS(coordinator_.LeaseGroups(request), absl::StatusCode::kNotFound, "register again");
  EXPECT_THAT(IndicesOf(Take(other, 9)), ElementsAre(0, 1, 2));
  EXPECT_EQ(coordinator_.Workers().size(), 1u);
  EXPECT_STATUS(Submit(leases[0], leaver), absl::StatusCode::kNotFound, "register again");
  EXPECT_THAT(Take(Join("rollout-0", 2)), IsEmpty());
}

TEST_F(QuarantineTest, AWorkerThatSeemedDeadAndRenewsWasNot) {
  const std::string hung = Join("rollout-0"), other = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  const std::vector<v1::Lease> leases = Take(hung, 3);
  clock_.Advance(kTtl);
  const std::vector<v1::Lease> taken = Take(other, 9);
  ASSERT_THAT(IndicesOf(taken), ElementsAre(0));
  // Group 0 has gone to another meanwhile; the rest is no suspect any more and stands beside group 3.
  const std::vector<v1::LeaseKey> lost = Beat(hung, leases);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].group_index(), 0);
  EXPECT_THAT(IndicesOf(Take(hung, 9)), ElementsAre(3));
  ExpectSubmit(leases[1], hung, v1::SUBMIT_RESULT_ACCEPTED);
  ExpectSubmit(taken[0], other, v1::SUBMIT_RESULT_ACCEPTED);
}

TEST_F(QuarantineTest, NothingJoinsASuspectByRenewal) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const std::vector<v1::Lease> leases = Take(worker, 2);
  clock_.Advance(kTtl);
  ASSERT_THAT(IndicesOf(Take(worker, 2)), ElementsAre(0));
  EXPECT_EQ(Beat(worker, leases).size(), 2u);
  EXPECT_EQ(coordinator_.Counters().num_leased(), 1);
}

TEST_F(QuarantineTest, AResultOfASuspectIsTakenLikeAnyOther) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  const std::vector<v1::Lease> leases = Take(worker);
  clock_.Advance(kTtl);
  EXPECT_EQ(coordinator_.Counters().num_pending(), 1);
  ExpectSubmit(leases[0], worker, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_THAT(Take(worker), IsEmpty());
  EXPECT_EQ(coordinator_.NumReady("rl", 0, 1), 1);
}

TEST_F(QuarantineTest, WhatAnEarlierStartQuarantinedIsNeverLeased) {
  const std::string worker = Join("rollout-0");
  coordinator_.Quarantine("rl", 1);
  coordinator_.Quarantine("eval", 0);
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 3)));
  const std::vector<v1::Lease> leases = Take(worker, 9);
  ASSERT_THAT(IndicesOf(leases), ElementsAre(0, 2));
  for (const v1::Lease& lease : leases) ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_ACCEPTED);
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 3, absl::ZeroDuration()));
  EXPECT_EQ(groups.size(), 2u);
  EXPECT_THAT(coordinator_.TakeQuarantined(), IsEmpty());
  EXPECT_EQ(coordinator_.Counters().num_quarantined_total(), 2);
  EXPECT_STATUS(coordinator_.Offer(TestGroups("rl", 1, 1)), absl::StatusCode::kAlreadyExists, "offered before");
}

TEST_F(QuarantineTest, NothingIsLeasedWhileLeasingIsOff) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const v1::Lease held = Take(worker)[0];
  coordinator_.SetLeasing(false);
  EXPECT_THAT(Take(worker), IsEmpty());
  EXPECT_THAT(Beat(worker, {held}), IsEmpty());
  ExpectSubmit(held, worker, v1::SUBMIT_RESULT_ACCEPTED);
  coordinator_.SetLeasing(true);
  EXPECT_THAT(IndicesOf(Take(worker)), ElementsAre(1));
}

}  // namespace
}  // namespace grpo
