// The coordinator's workers: who may join, who is lost, why nobody makes progress, which weights they pull, and many at
// once.
#include <atomic>
#include <thread>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "coordinator/coordinator.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

using CoordinatorWorkersTest = CoordinatorFixture;

TEST_F(CoordinatorWorkersTest, RegisterRefusesWhatDoesNotFitAndNamesBothValues) {
  v1::RegisterRequest request = TestWorker("rollout-0");
  request.set_protocol_version(kProtocolVersion + 1);
  request.set_build("9.9");
  EXPECT_STATUS(coordinator_.Register(request), kRefused,
                "protocol_version is 2 (build 9.9), this coordinator's is 1 (build ");
  request = TestWorker("rollout-0");
  request.set_run_id("run-b");
  EXPECT_STATUS(coordinator_.Register(request), kRefused, "run_id is run-b, this coordinator's is run-a");
  request = TestWorker("rollout-0");
  request.set_config_sha256("def");
  EXPECT_STATUS(coordinator_.Register(request), kRefused, "config_sha256 is def, this coordinator's is abc");
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

class CoordinatorHogTest : public CoordinatorFixture {
 protected:
  CoordinatorHogTest() : CoordinatorFixture({.hand_in_within_s = 10}) {}
};

TEST_F(CoordinatorHogTest, OneThatOnlyKeepsItsLeasesAliveLosesThemToTheOthersAndIsNamed) {
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 3)));
  const std::string hog = Join("hog"), other = Join("other");
  const std::vector<v1::Lease> held = Take(hog, 10);
  ASSERT_EQ(held.size(), 3u);
  for (int second = 1; second <= 10; ++second) {
    clock_.Advance(absl::Seconds(1));
    Beat(other, {});
    EXPECT_TRUE(Beat(hog, held).empty());
  }
  EXPECT_TRUE(Take(other, 10).empty());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(Beat(hog, held).size(), 3u);
  EXPECT_THAT(coordinator_.TakeNotices(), ::testing::ElementsAre(HasSubstr("hog held groups and handed none in")));
  EXPECT_TRUE(Take(hog, 10).empty());
  // Nobody else has them yet, so its work is not lost, and it is one of all again.
  ExpectSubmit(held[0], hog, v1::SUBMIT_RESULT_ACCEPTED);
  EXPECT_EQ(IndicesOf(Take(other, 1)), std::vector<int64_t>{1});
  EXPECT_EQ(IndicesOf(Take(hog, 1)), std::vector<int64_t>{2});
}

class CoordinatorEndpointsTest : public CoordinatorFixture {
 protected:
  // Groups first .. first+count-1 of a policy without weights.
  static std::vector<v1::Lease> Groups(int64_t first, int64_t count, const std::string& policy = "teacher") {
    std::vector<v1::Lease> groups = TestGroups("st", first, count);
    for (v1::Lease& group : groups) {
      group.set_kind(v1::LEASE_KIND_SYNTHESIZE);
      group.set_endpoint(true);
      group.mutable_policy()->set_policy_id(policy);
      group.mutable_policy()->set_number(0);
    }
    return groups;
  }

  std::vector<int64_t> TakeEndpoint(const std::string& worker_id, int32_t max_endpoint_groups, int32_t max_groups = 0) {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker_id);
    request.set_max_groups(max_groups);
    request.set_max_completions(1000 * max_groups);
    request.set_max_endpoint_groups(max_endpoint_groups);
    const auto response = coordinator_.LeaseGroups(request);
    EXPECT_OK(response);
    return response.ok() ? IndicesOf({response->leases().begin(), response->leases().end()}) : std::vector<int64_t>();
  }
};

TEST_F(CoordinatorEndpointsTest, TheirGroupsNeedNoWeightsAndTakeNoSlots) {
  ASSERT_OK(coordinator_.Offer(Groups(0, 3)));
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 2)));
  const std::string worker = Join("rollout-0");
  EXPECT_THAT(IndicesOf(Take(worker, /*max_groups=*/1)), ::testing::ElementsAre(0))
      << "one of rl: it has room for no other";
  EXPECT_THAT(TakeEndpoint(worker, 2), ::testing::ElementsAre(0, 1));
  EXPECT_THAT(TakeEndpoint(worker, 2, /*max_groups=*/1), ::testing::ElementsAre(2));
  EXPECT_THAT(TakeEndpoint(worker, 2, /*max_groups=*/1), ::testing::ElementsAre(1)) << "the other one of rl";
  v1::LeaseGroupsRequest nothing;
  nothing.set_worker_id(worker);
  EXPECT_STATUS(coordinator_.LeaseGroups(nothing), absl::StatusCode::kInvalidArgument, "max_groups is 0");
}

TEST_F(CoordinatorEndpointsTest, OneWorkerAtATimeIsGivenThoseOfAPolicyUntilItIsLostOrLeaves) {
  ASSERT_OK(coordinator_.Offer(Groups(0, 4)));
  ASSERT_OK(coordinator_.Offer(Groups(4, 1, "other")));
  const std::string first = Join("rollout-0"), second = Join("rollout-1");
  EXPECT_THAT(TakeEndpoint(first, 1), ::testing::ElementsAre(0));
  EXPECT_THAT(TakeEndpoint(second, 9), ::testing::ElementsAre(4)) << "another policy's";
  EXPECT_THAT(TakeEndpoint(first, 1), ::testing::ElementsAre(1));
  clock_.Advance(absl::Seconds(5));  // more than two intervals
  EXPECT_THAT(TakeEndpoint(second, 1), ::testing::ElementsAre(2));
  EXPECT_THAT(TakeEndpoint(first, 1), ::testing::IsEmpty()) << "it came back too late";
  v1::HeartbeatRequest leaving;
  leaving.set_worker_id(second);
  leaving.set_leaving(true);
  ASSERT_OK(coordinator_.Heartbeat(leaving));
  EXPECT_THAT(TakeEndpoint(first, 9), ::testing::ElementsAre(2, 3, 4));
}

TEST_F(CoordinatorEndpointsTest, ATrainingGroupIsRefusedByName) {
  std::vector<v1::Lease> groups = Groups(0, 1);
  groups[0].set_kind(v1::LEASE_KIND_TRAIN);
  EXPECT_STATUS(coordinator_.Offer(groups), absl::StatusCode::kInvalidArgument, "policy teacher is only an address");
}

TEST_F(CoordinatorEndpointsTest, WhatAGroupCostIsCollectedWithIt) {
  ASSERT_OK(coordinator_.Offer(Groups(0, 1)));
  const std::string worker = Join("rollout-0");
  ASSERT_THAT(TakeEndpoint(worker, 1), ::testing::ElementsAre(0));
  v1::Lease lease = Groups(0, 1)[0];
  lease.mutable_key()->set_attempt(1);
  lease.mutable_key()->set_epoch(3);
  v1::SubmitHeader header = TestHeader(lease, worker);
  header.clear_policy_digest();
  header.clear_prompt_ids();
  header.mutable_usage()->set_output_tokens(17);
  std::vector<v1::ScoredCompletion> completions = TestCompletions(lease);
  for (v1::ScoredCompletion& scored : completions) {
    scored.mutable_completion()->clear_ids();
    scored.mutable_completion()->clear_sample_logprob();
    scored.mutable_completion()->clear_spans();
  }
  ASSERT_OK(coordinator_.Submit(header, completions));
  ASSERT_OK_AND_ASSIGN(const std::vector<ScoredGroup> groups, coordinator_.Collect("st", 0, 1, absl::ZeroDuration()));
  EXPECT_EQ(groups.at(0).usage.output_tokens(), 17);
}

TEST_F(CoordinatorWorkersTest, TheWorkerIsToldWhichWeightChannelToUse) {
  Coordinator coordinator(CoordinatorOptions{},
                          {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3, .weight_channels = {"shm", "grpc"}},
                          clock_);
  const struct {
    std::vector<std::string> offered;
    std::string picked;
  } cases[] = {{{"grpc"}, "grpc"}, {{"grpc", "shm"}, "shm"}, {{"rdma", "grpc"}, "grpc"}, {{}, "grpc"}};
  for (const auto& [offered, picked] : cases) {
    v1::RegisterRequest request = TestWorker("rollout-0");
    for (const std::string& channel : offered) request.add_weight_channels(channel);
    ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse response, coordinator.Register(request));
    EXPECT_EQ(response.weight_channel(), picked);
  }
  v1::RegisterRequest request = TestWorker("rollout-1");
  request.add_weight_channels("rdma");
  request.add_weight_channels("nccl");
  EXPECT_STATUS(coordinator.Register(request), kRefused,
                "list of weight_channels is rdma, nccl, this coordinator's is shm, grpc");
  EXPECT_EQ(coordinator.Workers().size(), 1u);
}

TEST_F(CoordinatorWorkersTest, ARestartedWorkerFreesItsLeasesAtOnceAndTheOldOneIsFenced) {
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

TEST_F(CoordinatorWorkersTest, UnknownWorkersAreToldToRegister) {
  v1::LeaseGroupsRequest lease;
  lease.set_worker_id("rollout-0.1@2");
  lease.set_max_groups(1);
  EXPECT_STATUS(coordinator_.LeaseGroups(lease), absl::StatusCode::kNotFound, "register again");
  v1::HeartbeatRequest beat;
  EXPECT_STATUS(coordinator_.Heartbeat(beat), absl::StatusCode::kNotFound, "register again");
  lease.set_max_groups(0);
  EXPECT_STATUS(coordinator_.LeaseGroups(lease), absl::StatusCode::kInvalidArgument, "max_groups is 0");
}

TEST_F(CoordinatorWorkersTest, AWorkerIsLostAfterTwoSilentIntervalsAndBackWithItsNextCall) {
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

TEST_F(CoordinatorWorkersTest, SaysWhyNobodyMakesProgress) {
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

TEST_F(CoordinatorWorkersTest, KeepsOneVersionOfEachPolicy) {
  v1::PolicyRef policy;
  policy.set_policy_id("model");
  policy.set_number(7);
  ASSERT_OK_AND_ASSIGN(const auto seven, coordinator_.Weights(policy));
  coordinator_.Publish(TestWeights(8));
  EXPECT_STATUS(coordinator_.Weights(policy), absl::StatusCode::kNotFound,
                "model version 7 is not kept, only version 8 is");
  // A transfer that runs keeps what it started with.
  EXPECT_EQ(seven->manifest().digest(), "digest-7");
  policy.set_policy_id("teacher");
  EXPECT_STATUS(coordinator_.Weights(policy), absl::StatusCode::kNotFound, "teacher version 7 was never published");
}

// Four workers that drop leases, hand in late and hand in twice, while time jumps past every lease: each group is
// collected once, whole and of one attempt.
TEST_F(CoordinatorWorkersTest, ManyUnreliableWorkersLoseAndDoubleNothing) {
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
      v1::HeartbeatRequest beat;
      beat.set_worker_id(id);
      // Time jumps: whoever is silent meanwhile is not dead.
      beat.set_blocked_reason("reward server away");
      for (const v1::Lease& lease : leases->leases()) *beat.add_active() = lease.key();
      if (coordinator_.Heartbeat(beat)->run_ended()) return;
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
    // What the trainer does beside: it publishes, and shows its state.
    coordinator_.Publish(TestWeights(7));
    coordinator_.BlockedReason(absl::ZeroDuration());
    EXPECT_LE(coordinator_.Workers().size(), 4u);
    EXPECT_LE(coordinator_.Counters().num_ready(), kAhead);
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
  EXPECT_EQ(counters.num_quarantined_total(), 0);
  EXPECT_GT(num_refused, 0);
  EXPECT_GT(num_duplicate, 0);
  EXPECT_EQ(counters.num_pending() + counters.num_leased() + counters.num_ready(), 0);
}

}  // namespace
}  // namespace grpo
