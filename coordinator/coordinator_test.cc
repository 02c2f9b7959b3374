#include "coordinator/coordinator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "coordinator/testing.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

class CoordinatorTest : public ::testing::Test {
 protected:
  void SetUp() override { coordinator_.Publish(TestWeights(7)); }

  std::string Join(const std::string& name, int32_t attempt = 1) {
    const auto response = coordinator_.Register(TestWorker(name, attempt));
    EXPECT_OK(response);
    return response.ok() ? response->worker_id() : "";
  }

  std::vector<v1::Lease> Take(const std::string& worker_id, int32_t max_groups = 1, int32_t max_completions = 1000) {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker_id);
    request.set_max_groups(max_groups);
    request.set_max_completions(max_completions);
    const auto response = coordinator_.LeaseGroups(request);
    EXPECT_OK(response);
    if (!response.ok()) return {};
    return {response->leases().begin(), response->leases().end()};
  }

  absl::StatusOr<v1::SubmitCompletionResponse> Submit(const v1::Lease& lease, const std::string& worker_id) {
    return coordinator_.Submit(TestHeader(lease, worker_id), TestCompletions(lease));
  }

  void ExpectSubmit(const v1::Lease& lease, const std::string& worker_id, v1::SubmitResult expected) {
    const auto response = Submit(lease, worker_id);
    ASSERT_OK(response);
    EXPECT_EQ(response->result(), expected);
  }

  // Returns the keys that the worker has lost.
  std::vector<v1::LeaseKey> Beat(const std::string& worker_id, const std::vector<v1::Lease>& active,
                                 const std::string& blocked = "", int64_t blocked_for_ms = 0) {
    v1::HeartbeatRequest request;
    request.set_worker_id(worker_id);
    for (const v1::Lease& lease : active) *request.add_active() = lease.key();
    request.set_blocked_reason(blocked);
    request.set_blocked_for_ms(blocked_for_ms);
    const auto response = coordinator_.Heartbeat(request);
    EXPECT_OK(response);
    if (!response.ok()) return {};
    return {response->lost().begin(), response->lost().end()};
  }

  FakeClock clock_;
  // Leases of 30 s, heartbeats of 2 s, epoch 3.
  Coordinator coordinator_{CoordinatorOptions{}, {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}, clock_};
};

std::vector<int64_t> IndicesOf(const std::vector<v1::Lease>& leases) {
  std::vector<int64_t> indices;
  for (const v1::Lease& lease : leases) indices.push_back(lease.key().group_index());
  return indices;
}

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

TEST_F(CoordinatorTest, GivesAnExpiredLeaseToAnotherAndRefusesTheLateResult) {
  const std::string slow = Join("rollout-0"), fast = Join("rollout-1");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const v1::Lease first = Take(slow)[0];
  clock_.Advance(absl::Seconds(29));
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

TEST_F(CoordinatorTest, RegisterRefusesWhatDoesNotFitAndNamesBothValues) {
  v1::RegisterRequest request = TestWorker("rollout-0");
  request.set_protocol_version(kProtocolVersion + 1);
  request.set_build("9.9");
  EXPECT_STATUS(coordinator_.Register(request), kRefused,
                "protocol version is 2 (build 9.9), this coordinator's is 1 (build ");
  request = TestWorker("rollout-0");
  request.set_run_id("run-b");
  EXPECT_STATUS(coordinator_.Register(request), kRefused, "run is run-b, this coordinator's is run-a");
  request = TestWorker("rollout-0");
  request.set_config_sha256("def");
  EXPECT_STATUS(coordinator_.Register(request), kRefused, "hash is def, this coordinator's is abc");
  request = TestWorker("rollout-0");
  request.set_role("cook");
  EXPECT_STATUS(coordinator_.Register(request), kRefused, "cook");
  EXPECT_STATUS(coordinator_.Register(TestWorker("")), absl::StatusCode::kInvalidArgument, "worker_name");
  EXPECT_STATUS(coordinator_.Register(TestWorker("w", 0)), absl::StatusCode::kInvalidArgument, "count from 1");
  request = TestWorker("rollout-0");
  request.set_run_id("run-a");
  request.set_config_sha256("abc");
  ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse response, coordinator_.Register(request));
  EXPECT_EQ(response.epoch(), 3);
  EXPECT_EQ(response.run_id(), "run-a");
  EXPECT_EQ(response.heartbeat_interval_ms(), 2000);
}

TEST_F(CoordinatorTest, ARestartedWorkerFreesItsLeasesAtOnceAndTheOldOneIsFenced) {
  const std::string old_id = Join("rollout-0", 1);
  EXPECT_EQ(Join("rollout-0", 1), old_id);
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const std::vector<v1::Lease> leases = Take(old_id, 2);
  EXPECT_EQ(Join("rollout-0", 1), old_id);
  EXPECT_EQ(coordinator_.Counters().num_leased(), 2);

  const std::string new_id = Join("rollout-0", 2);
  EXPECT_NE(new_id, old_id);
  EXPECT_EQ(coordinator_.Counters().num_pending(), 2);
  EXPECT_EQ(coordinator_.Counters().num_expired_total(), 0);
  EXPECT_STATUS(Submit(leases[0], old_id), absl::StatusCode::kNotFound, "register again");
  EXPECT_STATUS(Submit(leases[0], new_id), kRefused, "was leased to rollout-0.1@3");
  EXPECT_STATUS(coordinator_.Register(TestWorker("rollout-0", 1)), kRefused,
                "attempt 1 of rollout-0 was replaced by attempt 2");
  EXPECT_EQ(coordinator_.Workers().size(), 1u);
  EXPECT_EQ(Take(new_id)[0].key().attempt(), 2);
}

TEST_F(CoordinatorTest, UnknownWorkersAreToldToRegister) {
  v1::LeaseGroupsRequest lease;
  lease.set_worker_id("rollout-0.1@2");
  lease.set_max_groups(1);
  EXPECT_STATUS(coordinator_.LeaseGroups(lease), absl::StatusCode::kNotFound, "register again");
  v1::HeartbeatRequest beat;
  EXPECT_STATUS(coordinator_.Heartbeat(beat), absl::StatusCode::kNotFound, "register again");
  lease.set_max_groups(0);
  EXPECT_STATUS(coordinator_.LeaseGroups(lease), absl::StatusCode::kInvalidArgument, "max_groups is 0");
}

TEST_F(CoordinatorTest, AWorkerIsLostAfterTwoSilentIntervalsAndBackWithItsNextCall) {
  const std::string worker = Join("rollout-0");
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 1)));
  Take(worker);
  clock_.Advance(absl::Seconds(4));
  EXPECT_EQ(coordinator_.Workers()[0].state(), v1::WORKER_STATE_ACTIVE);
  clock_.Advance(absl::Seconds(1));
  const v1::WorkerStatus status = coordinator_.Workers()[0];
  EXPECT_EQ(status.state(), v1::WORKER_STATE_LOST);
  EXPECT_EQ(status.last_seen_ms(), 5000);
  EXPECT_EQ(status.num_leases(), 1);
  EXPECT_FALSE(status.has_held_policy());
  Beat(worker, {}, "reward server away", 1500);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(coordinator_.Workers()[0].state(), v1::WORKER_STATE_BLOCKED);
  EXPECT_EQ(coordinator_.Workers()[0].blocked_for_ms(), 2500);
  Beat(worker, {});
  EXPECT_EQ(coordinator_.Workers()[0].state(), v1::WORKER_STATE_ACTIVE);
  EXPECT_EQ(coordinator_.Workers()[0].blocked_reason(), "");
}

TEST_F(CoordinatorTest, SaysWhyNobodyMakesProgress) {
  const absl::Duration tolerance = absl::Seconds(3);
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "");
  clock_.Advance(absl::Seconds(3));
  EXPECT_THAT(coordinator_.BlockedReason(tolerance), HasSubstr("no rollout worker has registered for 3s"));
  const std::string a = Join("rollout-0"), b = Join("rollout-1");
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "");
  // One blocked worker blocks nobody else.
  Beat(a, {}, "reward server X unreachable", 60000);
  Beat(b, {});
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "");
  // All are blocked from the moment on at which the last one stopped.
  Beat(b, {}, "cannot pull weights", 1000);
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "");
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "rollout-0 is blocked for 1m2s: reward server X unreachable");
  // A lost worker makes no progress either, whatever it said last.
  Beat(a, {});
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "");
  clock_.Advance(absl::Seconds(8));
  EXPECT_THAT(coordinator_.BlockedReason(tolerance), HasSubstr("every rollout worker is lost"));
  Beat(a, {});
  EXPECT_EQ(coordinator_.BlockedReason(tolerance), "");
}

TEST_F(CoordinatorTest, KeepsOneVersionOfEachPolicy) {
  v1::PolicyRef policy;
  policy.set_policy_id("model");
  policy.set_number(7);
  ASSERT_OK_AND_ASSIGN(const auto seven, coordinator_.Weights(policy));
  coordinator_.Publish(TestWeights(8));
  EXPECT_STATUS(coordinator_.Weights(policy), absl::StatusCode::kNotFound,
                "model version 7 is not kept, only version 8 is");
  // A transfer that runs keeps what it started with.
  EXPECT_EQ(seven->manifest.digest(), "digest-7");
  policy.set_policy_id("teacher");
  EXPECT_STATUS(coordinator_.Weights(policy), absl::StatusCode::kNotFound, "teacher version 7 was never published");
}

// Four workers that drop leases, hand in late and hand in twice, while time jumps past every lease: each group is
// collected once, whole and of one attempt.
TEST_F(CoordinatorTest, ManyUnreliableWorkersLoseAndDoubleNothing) {
  constexpr int64_t kGroups = 3000, kBatch = 50, kAhead = 100;
  std::atomic<int64_t> num_accepted = 0, num_refused = 0, num_duplicate = 0;
  const auto work = [&](int w) {
    Rng rng(static_cast<uint64_t>(w));
    const std::string id = Join(absl::StrCat("rollout-", w));
    const auto submit = [&](const v1::Lease& lease) {
      const auto response = Submit(lease, id);
      if (!response.ok()) {
        EXPECT_EQ(response.status().code(), kRefused) << response.status();
        ++num_refused;
      } else {
        ++(response->result() == v1::SUBMIT_RESULT_ACCEPTED ? num_accepted : num_duplicate);
      }
    };
    std::vector<v1::Lease> late;
    while (true) {
      v1::LeaseGroupsRequest request;
      request.set_worker_id(id);
      request.set_max_groups(1 + static_cast<int32_t>(rng.Below(3)));
      request.set_max_completions(100);
      request.set_wait_ms(5);
      const auto leases = coordinator_.LeaseGroups(request);
      ASSERT_OK(leases);
      if (leases->leases().empty()) {
        v1::HeartbeatRequest beat;
        beat.set_worker_id(id);
        if (coordinator_.Heartbeat(beat)->run_ended()) return;
      }
      for (const v1::Lease& lease : leases->leases()) {
        if (rng.Uniform() < 0.1) {
          late.push_back(lease);
          clock_.Advance(absl::Seconds(31));
        } else {
          submit(lease);
          if (rng.Uniform() < 0.1) submit(lease);
        }
      }
      if (late.size() > 5) {
        for (const v1::Lease& lease : late) submit(lease);
        late.clear();
      }
    }
  };
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w) workers.emplace_back(work, w);

  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, kAhead)));
  for (int64_t first = 0; first < kGroups; first += kBatch) {
    ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", first, kBatch, absl::Seconds(60)));
    for (int64_t i = 0; i < kBatch; ++i) {
      const v1::LeaseKey& key = groups[i].lease.key();
      ASSERT_EQ(key.group_index(), first + i);
      ASSERT_EQ(groups[i].completions.size(), 2u);
      for (const v1::ScoredCompletion& scored : groups[i].completions) {
        ASSERT_EQ(scored.completion().text(), absl::StrCat(key.group_index(), "/", key.attempt()));
      }
    }
    if (first + kAhead < kGroups) {
      ASSERT_OK(coordinator_.Offer(TestGroups("rl", first + kAhead, kBatch)));
    }
  }
  coordinator_.End();
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(num_accepted, kGroups);
  const v1::LeaseCounters counters = coordinator_.Counters();
  EXPECT_EQ(counters.num_refused_total(), num_refused);
  EXPECT_EQ(counters.num_duplicate_total(), num_duplicate);
  EXPECT_GT(counters.num_expired_total(), 0);
  EXPECT_GT(num_refused, 0);
  EXPECT_GT(num_duplicate, 0);
  EXPECT_EQ(counters.num_pending() + counters.num_leased() + counters.num_ready(), 0);
}

}  // namespace
}  // namespace grpo
