#include "coordinator/coordinator.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "common/status_testing.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

using CoordinatorTest = CoordinatorFixture;

TEST_F(CoordinatorTest, LeasesGroupsWholeInTheOrderOfTheOffer) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 5, /*num_completions=*/8)));
  EXPECT_THAT(IndicesOf(Take(worker, 4, /*max_completions=*/20)), ElementsAre(0, 1));
  // One group is leased even if it is larger than what was asked for.
  EXPECT_THAT(IndicesOf(Take(worker, 4, /*max_completions=*/3)), ElementsAre(2));
  EXPECT_THAT(IndicesOf(Take(worker, 1, /*max_completions=*/100)), ElementsAre(3));
  const std::vector<v1::Lease> last = Take(worker, 9, 100);
  ASSERT_THAT(IndicesOf(last), ElementsAre(4));
  EXPECT_EQ(last[0].key().attempt(), 1);
  EXPECT_EQ(last[0].key().epoch(), 3);
  EXPECT_EQ(last[0].ttl_ms(), 30000);
  EXPECT_EQ(last[0].seed(), 1004u);
  EXPECT_EQ(last[0].prompt().text(), "problem 4");
  EXPECT_THAT(Take(worker), IsEmpty());
}

TEST_F(CoordinatorTest, LeasesFitIntoOneMessage) {
  const std::string worker = Join("rollout-0");
  std::vector<v1::Lease> groups = TestGroups("rl", 0, 6);
  for (v1::Lease& group : groups) group.mutable_prompt()->set_text(std::string(900'000, 'x'));
  groups[5].mutable_prompt()->set_text(std::string(3'000'000, 'x'));
  ASSERT_OK(coordinator_.Offer(groups));
  EXPECT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(0, 1));
  EXPECT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(2, 3));
  EXPECT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(4));
  EXPECT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(5));
}

TEST_F(CoordinatorTest, OffersAllOrNone) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  EXPECT_STATUS(coordinator_.Offer(TestGroups("rl", 1, 2)), absl::StatusCode::kAlreadyExists,
                "group 1 of stage \"rl\"");
  EXPECT_STATUS(coordinator_.Offer({TestGroup("rl", 9), TestGroup("rl", 9)}), absl::StatusCode::kAlreadyExists,
                "group 9");
  EXPECT_STATUS(coordinator_.Offer({TestGroup("rl", 9, /*num_completions=*/0)}), absl::StatusCode::kInvalidArgument,
                "is 0");
  EXPECT_OK(coordinator_.Offer(TestGroups("eval", 1, 1)));
  EXPECT_EQ(coordinator_.Counters().num_pending(), 3);
}

TEST_F(CoordinatorTest, LeasesAGroupOnceTheWeightsThatItMayHoldAreOut) {
  const std::string worker = Join("rollout-0");
  std::vector<v1::Lease> groups = TestGroups("rl", 0, 3);
  groups[1].mutable_policy()->set_number(8);
  groups[2].mutable_policy()->set_policy_id("teacher");
  ASSERT_OK(coordinator_.Offer(groups));
  EXPECT_THAT(IndicesOf(Take(worker, 9)), ElementsAre(0));
  std::thread waiting([&] {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker);
    request.set_max_groups(9);
    request.set_max_completions(100);
    request.set_wait_ms(10000);
    const auto response = coordinator_.LeaseGroups(request);
    ASSERT_OK(response);
    ASSERT_EQ(response->leases_size(), 1);
    EXPECT_EQ(response->leases(0).key().group_index(), 1);
    EXPECT_EQ(response->leases(0).policy().number(), 8);
  });
  coordinator_.Publish(TestWeights(8));
  waiting.join();
  EXPECT_EQ(coordinator_.Counters().num_pending(), 1);
}

TEST_F(CoordinatorTest, RefusesAnOfferOfAKindThatNobodyKnows) {
  v1::Lease group = TestGroup("rl", 0);
  group.set_kind(v1::LEASE_KIND_UNSPECIFIED);
  EXPECT_STATUS(coordinator_.Offer({group}), absl::StatusCode::kInvalidArgument, "lease kind 0");
}

TEST_F(CoordinatorTest, GivesAnExpiredLeaseToAnotherAndRefusesTheLateResult) {
  const std::string slow = Join("rollout-0"), fast = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const v1::Lease first = Take(slow)[0];
  clock_.Advance(absl::Seconds(29));
  // It lives, and does not work on group 0 any more.
  Beat(slow, {});
  // Group 1 is next while group 0 is still leased; when it runs out it is first in line again.
  EXPECT_THAT(IndicesOf(Take(fast)), ElementsAre(1));
  clock_.Advance(absl::Seconds(1));
  const std::vector<v1::Lease> again = Take(fast);
  ASSERT_THAT(IndicesOf(again), ElementsAre(0));
  EXPECT_EQ(again[0].key().attempt(), 2);

  EXPECT_STATUS(Submit(first, slow), kRefused,
                "attempt 1 at group 0 of stage \"rl\" ran out and attempt 2 was leased since");
  ExpectSubmit(again[0], fast, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_STATUS(Submit(first, slow), kRefused, "attempt 2");
  const v1::LeaseCounters counters = coordinator_.Counters();
  EXPECT_EQ(counters.num_expired_total(), 1);
  EXPECT_EQ(counters.num_refused_total(), 2);
  EXPECT_EQ(counters.num_duplicate_total(), 0);
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 1, absl::ZeroDuration()));
  EXPECT_EQ(groups[0].worker_name, "rollout-1");
  EXPECT_EQ(groups[0].completions[0].completion().text(), "0/2");
}

TEST_F(CoordinatorTest, AnExpiredLeaseThatNobodyTookIsStillItsHolders) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const std::vector<v1::Lease> leases = Take(worker, 2);
  clock_.Advance(absl::Minutes(5));
  EXPECT_EQ(coordinator_.Counters().num_pending(), 2);
  ExpectSubmit(leases[0], worker, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_THAT(Beat(worker, {leases[1]}), IsEmpty());
  const v1::LeaseCounters counters = coordinator_.Counters();
  EXPECT_EQ(counters.num_pending(), 0);
  EXPECT_EQ(counters.num_leased(), 1);
  EXPECT_EQ(counters.num_ready(), 1);
  EXPECT_EQ(counters.num_expired_total(), 2);
  EXPECT_THAT(Take(Join("rollout-1")), IsEmpty());
}

TEST_F(CoordinatorTest, HeartbeatsRenewLeasesAlsoOfABlockedWorkerAndNameTheLost) {
  const std::string worker = Join("rollout-0"), other = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const std::vector<v1::Lease> leases = Take(worker, 2);
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(absl::Seconds(20));
    EXPECT_THAT(Beat(worker, {leases[0]}, "reward server away", 20000 * (i + 1)), IsEmpty());
  }
  // Group 1 was not named and ran out.
  EXPECT_EQ(coordinator_.Counters().num_expired_total(), 1);
  EXPECT_THAT(IndicesOf(Take(other, 2)), ElementsAre(1));
  const std::vector<v1::LeaseKey> lost = Beat(worker, leases);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].group_index(), 1);
  // Nor is another's lease renewed by naming it.
  EXPECT_EQ(Beat(other, {leases[0]}).size(), 1u);
}

TEST_F(CoordinatorTest, ARepeatedSubmissionIsADuplicateAlsoAfterCollection) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  const v1::Lease lease = Take(worker)[0];
  ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_ACCEPTED);
  ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_DUPLICATE);
  ASSERT_OK(coordinator_.Collect("rl", 0, 1, absl::ZeroDuration()));
  ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_DUPLICATE);
  EXPECT_EQ(coordinator_.Counters().num_duplicate_total(), 2);
  EXPECT_EQ(coordinator_.Counters().num_ready(), 0);
  EXPECT_STATUS(coordinator_.Collect("rl", 0, 1, absl::InfiniteDuration()), kRefused, "was collected before");
}

TEST_F(CoordinatorTest, RefusesResultsOfAnotherEpochWorkerOrGroup) {
  const std::string worker = Join("rollout-0"), other = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const v1::Lease lease = Take(worker)[0];
  v1::Lease wrong = lease;
  wrong.mutable_key()->set_epoch(2);
  EXPECT_STATUS(Submit(wrong, worker), kRefused, "is of epoch 2, this coordinator's is 3");
  EXPECT_STATUS(Submit(lease, other), kRefused, "was leased to rollout-0.1@3, not to rollout-1.1@3");
  wrong = lease;
  wrong.mutable_key()->set_group_index(1);
  EXPECT_STATUS(Submit(wrong, worker), kRefused, "group 1 of stage \"rl\" was never leased");
  wrong.mutable_key()->set_stage("nowhere");
  EXPECT_STATUS(Submit(wrong, worker), kRefused, "never leased");
  wrong = lease;
  wrong.mutable_key()->set_attempt(2);
  EXPECT_STATUS(Submit(wrong, worker), kRefused, "attempt 2");
  EXPECT_EQ(coordinator_.Counters().num_refused_total(), 5);
  EXPECT_EQ(coordinator_.Counters().num_ready(), 0);
}

TEST_F(CoordinatorTest, RefusesAGroupMadeWithOtherWeights) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  const v1::Lease lease = Take(worker)[0];
  v1::SubmitHeader header = TestHeader(lease, worker);
  header.set_policy_digest("digest-6");
  const auto refused = coordinator_.Submit(header, TestCompletions(lease));
  EXPECT_STATUS(refused, kRefused, "digest \"digest-6\"");
  EXPECT_STATUS(refused, kRefused, "model version 7 has \"digest-7\"");
  // The leased version counts, also when a newer one is out.
  coordinator_.Publish(TestWeights(8));
  header.set_policy_digest("digest-8");
  EXPECT_STATUS(coordinator_.Submit(header, TestCompletions(lease)), kRefused, "digest-7");
  ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_ACCEPTED);
}

TEST_F(CoordinatorTest, NeverTakesAPartOfAGroup) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1, /*num_completions=*/4)));
  const v1::Lease lease = Take(worker)[0];
  std::vector<v1::ScoredCompletion> completions = TestCompletions(lease);
  completions.pop_back();
  v1::SubmitHeader header = TestHeader(lease, worker);
  EXPECT_STATUS(coordinator_.Submit(header, completions), absl::StatusCode::kInvalidArgument,
                "3 came, the lease asks for 4");
  header.set_num_completions(3);
  EXPECT_STATUS(coordinator_.Submit(header, completions), absl::StatusCode::kInvalidArgument, "the lease asks for 4");
  EXPECT_EQ(coordinator_.NumReady("rl", 0, 1), 0);
  // The lease survives a malformed answer.
  ExpectSubmit(lease, worker, v1::SUBMIT_RESULT_ACCEPTED);
}

TEST_F(CoordinatorTest, CollectsInGroupOrderAndCompletionsInIndexOrder) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 5, /*num_completions=*/3)));
  std::vector<v1::Lease> leases = Take(worker, 5);
  std::reverse(leases.begin(), leases.end());
  for (const v1::Lease& lease : leases) {
    // Groups 0 to 2 cannot be had while 0 is missing, and nothing is removed by asking.
    EXPECT_STATUS(coordinator_.Collect("rl", 0, 3, absl::ZeroDuration()), absl::StatusCode::kDeadlineExceeded,
                  "group 0");
    std::vector<v1::ScoredCompletion> completions = TestCompletions(lease);
    std::reverse(completions.begin(), completions.end());
    ASSERT_OK(coordinator_.Submit(TestHeader(lease, worker), std::move(completions)));
  }
  EXPECT_EQ(coordinator_.NumReady("rl", 0, 5), 5);
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 3, absl::ZeroDuration()));
  ASSERT_EQ(groups.size(), 3u);
  for (int64_t g = 0; g < 3; ++g) {
    EXPECT_EQ(groups[g].lease.key().group_index(), g);
    EXPECT_THAT(groups[g].prompt_ids, ElementsAre(3));
    EXPECT_EQ(groups[g].generate_seconds, 0.5);
    ASSERT_EQ(groups[g].completions.size(), 3u);
    for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(groups[g].completions[i].completion().index(), i);
  }
  EXPECT_EQ(coordinator_.NumReady("rl", 0, 5), 2);
  EXPECT_OK(coordinator_.Collect("rl", 3, 2, absl::ZeroDuration()));
}

TEST_F(CoordinatorTest, AGroupThatCannotBeProducedFailsItsCollectAtOnce) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 4)));
  const std::vector<v1::Lease> leases = Take(worker, 4);
  v1::SubmitHeader header = TestHeader(leases[1], worker);
  header.set_error("the prompt has 900 tokens, the context 512");
  header.set_num_completions(0);
  EXPECT_STATUS(coordinator_.Submit(header, TestCompletions(leases[1])), absl::StatusCode::kInvalidArgument,
                "2 completions came with");
  header.clear_policy_digest();
  ASSERT_OK(coordinator_.Submit(header, {}));
  EXPECT_STATUS(
      coordinator_.Collect("rl", 0, 2, absl::InfiniteDuration()), absl::StatusCode::kInvalidArgument,
      "group 1 of stage \"rl\" cannot be produced: the prompt has 900 tokens, the context 512 (reported by rollout-0)");
  ExpectSubmit(leases[2], worker, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_OK(coordinator_.Collect("rl", 2, 1, absl::ZeroDuration()));
}

TEST_F(CoordinatorTest, EndWakesCollectAndLeaseGroupsAndTellsWorkers) {
  const std::string worker = Join("rollout-0");
  std::thread trainer([&] {
    EXPECT_STATUS(coordinator_.Collect("rl", 0, 1, absl::InfiniteDuration()), absl::StatusCode::kAborted, "ended");
  });
  const auto before = std::chrono::steady_clock::now();
  std::thread waiting([&] {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker);
    request.set_max_groups(1);
    request.set_wait_ms(10000);
    const auto response = coordinator_.LeaseGroups(request);
    ASSERT_OK(response);
    EXPECT_EQ(response->leases_size(), 0);
    EXPECT_TRUE(response->run_ended());
  });
  v1::HeartbeatRequest beat;
  beat.set_worker_id(worker);
  EXPECT_FALSE(coordinator_.Heartbeat(beat)->run_ended());
  coordinator_.End();
  trainer.join();
  waiting.join();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(8));
  EXPECT_TRUE(coordinator_.Heartbeat(beat)->run_ended());
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  EXPECT_THAT(Take(worker), IsEmpty());
}

TEST_F(CoordinatorTest, OfferWakesAWaitingWorker) {
  const std::string worker = Join("rollout-0");
  const auto before = std::chrono::steady_clock::now();
  std::thread waiting([&] {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker);
    request.set_max_groups(1);
    request.set_wait_ms(10000);
    const auto response = coordinator_.LeaseGroups(request);
    ASSERT_OK(response);
    EXPECT_EQ(response->leases_size(), 1);
  });
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  waiting.join();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(8));
}

}  // namespace
}  // namespace grpo
