#include "coordinator/worker_table.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "coordinator/testing.h"

namespace grpo {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;
constexpr absl::Duration kInterval = absl::Seconds(2);
// Nothing heard for longer is death.
const absl::Duration kLostAfter = 2 * kInterval;
constexpr absl::Duration kStart = absl::Seconds(1000);

class WorkerTableTest : public ::testing::Test {
 protected:
  // The id of an admitted worker.
  std::string Join(const std::string& name, int32_t attempt = 1) {
    const auto admission = table_.Register(TestWorker(name, attempt), now_);
    EXPECT_OK(admission);
    return admission.ok() ? admission->worker_id : "";
  }

  void Beat(const std::string& id, const std::string& blocked_reason = "",
            absl::Duration blocked_for = absl::ZeroDuration()) {
    v1::HeartbeatRequest request;
    request.set_worker_id(id);
    request.set_blocked_reason(blocked_reason);
    request.set_blocked_for_ms(absl::ToInt64Milliseconds(blocked_for));
    EXPECT_OK(table_.Heartbeat(request, now_));
  }

  std::string BlockedReason(absl::Duration tolerance = absl::ZeroDuration()) const {
    return table_.BlockedReason(tolerance, now_);
  }

  absl::Duration now_ = kStart;
  WorkerTable table_{/*epoch=*/3, kInterval, kStart, /*hand_in_within=*/absl::Minutes(1)};
};

TEST_F(WorkerTableTest, AnIdNamesSlotAttemptAndEpoch) {
  EXPECT_EQ(Join("rollout-0", 2), "rollout-0.2@3");
  EXPECT_EQ(table_.NameOf("rollout-0.2@3"), "rollout-0");
}

TEST_F(WorkerTableTest, AnIdOfAnotherEpochIsUnknownAndToldToRegisterAgain) {
  Join("rollout-0");
  EXPECT_STATUS(table_.Touch("rollout-0.1@2", now_), absl::StatusCode::kNotFound,
                "worker_id \"rollout-0.1@2\" is unknown to epoch 3: register again");
  v1::HeartbeatRequest request;
  request.set_worker_id("rollout-0.1@2");
  EXPECT_STATUS(table_.Heartbeat(request, now_), absl::StatusCode::kNotFound, "register again");
  EXPECT_EQ(table_.NameOf("rollout-0.1@2"), "");
}

TEST_F(WorkerTableTest, RegisteringTwiceIsOneWorkerThatWasHeardOf) {
  const std::string id = Join("rollout-0");
  now_ += 2 * kLostAfter;
  ASSERT_TRUE(table_.IsDeadWorking(id, now_));
  ASSERT_OK_AND_ASSIGN(const auto admission, table_.Register(TestWorker("rollout-0"), now_));
  EXPECT_EQ(admission.worker_id, id);
  EXPECT_EQ(admission.replaced_id, "");
  EXPECT_FALSE(table_.IsDeadWorking(id, now_));
  EXPECT_EQ(table_.Statuses(now_).size(), 1u);
}

TEST_F(WorkerTableTest, ALaterAttemptTakesTheSlotAndTheEarlierOneIsFenced) {
  const std::string first = Join("rollout-0", 1);
  ASSERT_OK_AND_ASSIGN(const auto admission, table_.Register(TestWorker("rollout-0", 4), now_));
  EXPECT_EQ(admission.replaced_id, first);
  EXPECT_EQ(admission.worker_id, "rollout-0.4@3");
  EXPECT_STATUS(table_.Touch(first, now_), absl::StatusCode::kNotFound, "register again");
  EXPECT_STATUS(table_.Register(TestWorker("rollout-0", 3), now_), kRefused,
                "attempt 3 of rollout-0 was replaced by attempt 4: exit, or register under another worker_name");
  EXPECT_OK(table_.Touch(admission.worker_id, now_));
  EXPECT_EQ(table_.Statuses(now_).size(), 1u);
}

TEST_F(WorkerTableTest, AReplacedWorkerIsBlamedUnlessItHadSaidThatSomethingElseBlocksIt) {
  Join("rollout-0", 1);
  ASSERT_OK_AND_ASSIGN(const auto busy, table_.Register(TestWorker("rollout-0", 2), now_));
  EXPECT_TRUE(busy.replaced_died_working);
  Beat(busy.worker_id, "reward server unreachable");
  ASSERT_OK_AND_ASSIGN(const auto blocked, table_.Register(TestWorker("rollout-0", 3), now_));
  EXPECT_FALSE(blocked.replaced_died_working);
  // What its predecessor said is not this one's.
  ASSERT_OK_AND_ASSIGN(const auto again, table_.Register(TestWorker("rollout-0", 4), now_));
  EXPECT_TRUE(again.replaced_died_working);
}

TEST_F(WorkerTableTest, NamesAndAttemptsThatAreNoneAreRefusedAndLeaveNothing) {
  EXPECT_STATUS(table_.Register(TestWorker(""), now_), kInvalid,
                "worker_name has 0 bytes, allowed are 1 to 256: give the worker a --name");
  EXPECT_STATUS(table_.Register(TestWorker(std::string(257, 'n')), now_), kInvalid, "worker_name has 257 bytes");
  for (const int32_t attempt : {0, -1}) {
    EXPECT_STATUS(table_.Register(TestWorker("w", attempt), now_), kInvalid,
                  absl::StrCat("worker_attempt of w is ", attempt, ", attempts count from 1"));
  }
  EXPECT_TRUE(table_.Statuses(now_).empty());
  EXPECT_EQ(Join(std::string(256, 'n')), std::string(256, 'n') + ".1@3");
}

// Whoever registers ever new names fills no memory; those that are known may still come back.
TEST_F(WorkerTableTest, TheNumberOfNamesIsBounded) {
  for (int i = 0; i < WorkerTable::kMaxWorkers; ++i) ASSERT_OK(table_.Register(TestWorker(absl::StrCat(i)), now_));
  EXPECT_STATUS(table_.Register(TestWorker("one more"), now_), absl::StatusCode::kResourceExhausted,
                "16384 worker names are registered");
  EXPECT_OK(table_.Register(TestWorker("7", 2), now_));
  table_.Remove("9.1@3");
  EXPECT_OK(table_.Register(TestWorker("one more"), now_));
}

TEST_F(WorkerTableTest, AWorkerIsLostAfterTwoSilentIntervalsAndLiveFromItsNextCall) {
  const std::string id = Join("rollout-0");
  now_ += kLostAfter;
  EXPECT_FALSE(table_.IsDeadWorking(id, now_));
  EXPECT_EQ(table_.Statuses(now_)[0].state(), v1::WORKER_STATE_ACTIVE);
  now_ += absl::Milliseconds(1);
  EXPECT_TRUE(table_.IsDeadWorking(id, now_));
  EXPECT_EQ(table_.Statuses(now_)[0].state(), v1::WORKER_STATE_LOST);
  EXPECT_EQ(table_.Statuses(now_)[0].last_seen_ms(), 4001);
  ASSERT_OK(table_.Touch(id, now_));
  EXPECT_FALSE(table_.IsDeadWorking(id, now_));
  EXPECT_EQ(table_.Statuses(now_)[0].state(), v1::WORKER_STATE_ACTIVE);
}

TEST_F(WorkerTableTest, ALostWorkerThatWasBlockedIsNotBlamed) {
  const std::string id = Join("rollout-0");
  Beat(id, "reward server unreachable");
  now_ += kLostAfter + absl::Seconds(1);
  EXPECT_FALSE(table_.IsDeadWorking(id, now_));
  EXPECT_EQ(table_.Statuses(now_)[0].state(), v1::WORKER_STATE_LOST);
  EXPECT_FALSE(table_.IsDeadWorking("nobody", now_));
}

TEST_F(WorkerTableTest, AWorkerThatLeftIsForgotten) {
  const std::string id = Join("rollout-0");
  table_.Remove(id);
  table_.Remove(id);
  table_.Remove("nobody");
  EXPECT_TRUE(table_.Statuses(now_).empty());
  EXPECT_STATUS(table_.Touch(id, now_), absl::StatusCode::kNotFound, "register again");
  // The same attempt may come again: nothing of it is left that could be fenced.
  EXPECT_EQ(Join("rollout-0"), id);
}

TEST_F(WorkerTableTest, AStatusSaysWhatTheWorkerSaidLast) {
  const std::string id = Join("rollout-1");
  Join("rollout-0");
  v1::HeartbeatRequest request;
  request.set_worker_id(id);
  request.mutable_held_policy()->set_policy_id("model");
  request.mutable_held_policy()->set_number(9);
  request.set_num_tokens_generated(123);
  request.set_blocked_reason("no reward server");
  request.set_blocked_for_ms(700);
  ASSERT_OK(table_.Heartbeat(request, now_));
  now_ += absl::Milliseconds(300);

  std::vector<v1::WorkerStatus> statuses = table_.Statuses(now_);
  ASSERT_EQ(statuses.size(), 2u);
  EXPECT_EQ(statuses[0].name(), "rollout-0") << "by name";
  EXPECT_FALSE(statuses[0].has_held_policy());
  EXPECT_EQ(statuses[0].blocked_for_ms(), 0);
  EXPECT_EQ(statuses[1].worker_id(), id);
  EXPECT_EQ(statuses[1].held_policy().number(), 9);
  EXPECT_EQ(statuses[1].num_tokens_generated(), 123);
  EXPECT_EQ(statuses[1].state(), v1::WORKER_STATE_BLOCKED);
  EXPECT_EQ(statuses[1].blocked_reason(), "no reward server");
  EXPECT_EQ(statuses[1].blocked_for_ms(), 1000);
  EXPECT_EQ(statuses[1].last_seen_ms(), 300);

  Beat(id);
  statuses = table_.Statuses(now_);
  EXPECT_EQ(statuses[1].state(), v1::WORKER_STATE_ACTIVE);
  EXPECT_EQ(statuses[1].blocked_reason(), "");
  EXPECT_FALSE(statuses[1].has_held_policy()) << "it holds none any more";
}

// A clock of its own, or a lie, must not make the run wait for an hour that has not passed.
TEST_F(WorkerTableTest, ANegativeTimeOfBeingBlockedCountsAsNow) {
  const std::string id = Join("rollout-0");
  now_ += absl::Seconds(1);
  Beat(id, "why", -absl::Hours(1));
  EXPECT_EQ(table_.Statuses(now_)[0].blocked_for_ms(), 0);
  EXPECT_EQ(BlockedReason(), "rollout-0 is blocked for 0: why");
}

TEST_F(WorkerTableTest, WithoutAnyWorkerTheRunWaitsForOneAfterTheTolerance) {
  now_ += absl::Seconds(9);
  EXPECT_EQ(BlockedReason(absl::Seconds(10)), "");
  now_ += absl::Milliseconds(3500);
  EXPECT_EQ(BlockedReason(absl::Seconds(10)), "no rollout worker has registered for 12s: start one, or read its log");
}

TEST_F(WorkerTableTest, OneWorkerThatGoesOnIsNoReasonToWait) {
  const std::string blocked = Join("rollout-0");
  const std::string working = Join("rollout-1");
  now_ += absl::Seconds(3);
  Beat(blocked, "reward server unreachable", absl::Seconds(3));
  Beat(working);
  EXPECT_EQ(BlockedReason(), "");
  Beat(working, "no weights", absl::Seconds(1));
  EXPECT_EQ(BlockedReason(), "rollout-0 is blocked for 3s: reward server unreachable") << "the longest of them";
}

TEST_F(WorkerTableTest, WhatBlocksTheRunIsSaidThoughOthersGoOn) {
  const std::string holder = Join("rollout-0");
  const std::string working = Join("rollout-1");
  now_ += absl::Seconds(3);
  v1::HeartbeatRequest request;
  request.set_worker_id(holder);
  request.set_blocked_reason("the budget is spent");
  request.set_blocked_for_ms(2000);
  request.set_blocks_run(true);
  ASSERT_OK(table_.Heartbeat(request, now_));
  Beat(working);
  EXPECT_EQ(BlockedReason(absl::Seconds(3)), "");
  EXPECT_EQ(BlockedReason(absl::Seconds(2)), "rollout-0 is blocked for 2s: the budget is spent");
  EXPECT_FALSE(table_.IsDeadWorking(holder, now_ + 2 * kLostAfter)) << "its groups are not to blame";
  now_ += 2 * kLostAfter;
  Beat(working);
  EXPECT_EQ(BlockedReason(), "") << "it is lost";
}

TEST_F(WorkerTableTest, AWorkerIsLiveUntilNothingWasHeardOfItForTwoIntervals) {
  const std::string id = Join("rollout-0");
  EXPECT_TRUE(table_.IsLive(id, now_ + kLostAfter));
  EXPECT_FALSE(table_.IsLive(id, now_ + kLostAfter + absl::Seconds(1)));
  EXPECT_FALSE(table_.IsLive("rollout-9.1@3", now_));
}

// Nobody makes progress since the last one stopped, however long the first has waited.
TEST_F(WorkerTableTest, TheToleranceCountsFromTheLastThatStopped) {
  const std::string first = Join("rollout-0");
  const std::string second = Join("rollout-1");
  now_ += absl::Seconds(60);
  Beat(first, "reward server unreachable", absl::Seconds(50));
  Beat(second, "reward server unreachable", absl::Seconds(2));
  EXPECT_EQ(BlockedReason(absl::Seconds(3)), "");
  now_ += absl::Seconds(1);
  EXPECT_EQ(BlockedReason(absl::Seconds(3)), "rollout-0 is blocked for 51s: reward server unreachable");
  // Whatever they are called.
  Beat(first, "reward server unreachable", absl::Seconds(2));
  Beat(second, "no weights", absl::Seconds(51));
  EXPECT_EQ(BlockedReason(absl::Seconds(3)), "");
  EXPECT_EQ(BlockedReason(absl::Seconds(2)), "rollout-1 is blocked for 51s: no weights");
}

TEST_F(WorkerTableTest, WhenEveryWorkerIsLostTheLastThatWasHeardOfIsNamed) {
  const std::string first = Join("rollout-0");
  now_ += absl::Seconds(1);
  Join("rollout-1");
  now_ += kLostAfter + absl::Seconds(5);
  EXPECT_EQ(BlockedReason(absl::Seconds(6)), "") << "lost for five seconds";
  EXPECT_EQ(BlockedReason(absl::Seconds(5)),
            "every rollout worker is lost; rollout-1 was heard of last, 9s ago: start one, or read its log");
  ASSERT_OK(table_.Touch(first, now_));
  EXPECT_EQ(BlockedReason(absl::Seconds(5)), "");
}

TEST_F(WorkerTableTest, ALostWorkerIsNoProgressBesideABlockedOne) {
  Join("rollout-0");
  const std::string blocked = Join("rollout-1");
  now_ += absl::Seconds(20);
  Beat(blocked, "reward server unreachable", absl::Seconds(8));
  EXPECT_EQ(BlockedReason(absl::Seconds(5)), "rollout-1 is blocked for 8s: reward server unreachable");
  EXPECT_EQ(BlockedReason(absl::Seconds(9)), "") << "it was blocked later than the other was lost";
  Beat(blocked, "reward server unreachable", absl::Seconds(19));
  EXPECT_EQ(BlockedReason(absl::Seconds(17)), "") << "the other was lost 16 s ago";
  EXPECT_EQ(BlockedReason(absl::Seconds(16)), "rollout-1 is blocked for 19s: reward server unreachable");
}

// It kept every group from the others for as long as it said that it was there.
TEST_F(WorkerTableTest, OneThatHoldsGroupsAndHandsNoneInIsPassedOverWhileAnotherCanGoOn) {
  const std::string hog = Join("hog");
  for (const absl::Duration start = now_; now_ - start <= absl::Minutes(1); now_ += kInterval) {
    Beat(hog);
    // To let groups go and take them again changes nothing.
    table_.NoteTaken(hog, now_);
  }
  EXPECT_EQ(table_.PassOverIfDue(hog, now_), "") << "nobody else is there";
  EXPECT_FALSE(table_.IsPassedOver(hog, now_));

  const std::string other = Join("other");
  EXPECT_EQ(table_.PassOverIfDue(other, now_), "");
  EXPECT_EQ(table_.PassOverIfDue(hog, now_).find("hog held groups and handed none in for 1m"), 0u);
  EXPECT_EQ(table_.PassOverIfDue(hog, now_), "") << "said once";
  EXPECT_TRUE(table_.IsPassedOver(hog, now_));
  EXPECT_FALSE(table_.IsPassedOver(other, now_));
  const v1::WorkerStatus status = table_.Statuses(now_)[0];
  EXPECT_EQ(status.state(), v1::WORKER_STATE_BLOCKED);
  EXPECT_NE(status.blocked_reason().find("coordinator.hand_in_within_s"), std::string::npos);

  // A slow one is better than none, and one that hands in is none of these.
  Beat(other, "the reward server is away");
  EXPECT_FALSE(table_.IsPassedOver(hog, now_));
  Beat(other);
  EXPECT_TRUE(table_.IsPassedOver(hog, now_));
  table_.NoteHandedIn(hog, /*holds_more=*/false, now_);
  EXPECT_FALSE(table_.IsPassedOver(hog, now_));
}

TEST_F(WorkerTableTest, WhatCountsIsTheTimeSinceItHandedInLastWhileItWasThere) {
  const std::string worker = Join("rollout-0");
  table_.NoteTaken(worker, now_);
  // Lost for an hour.
  now_ += absl::Hours(1);
  Beat(worker);
  const std::string other = Join("other");
  EXPECT_EQ(table_.PassOverIfDue(worker, now_), "");
  table_.NoteHandedIn(worker, /*holds_more=*/true, now_);
  for (const absl::Duration start = now_; now_ - start < absl::Minutes(1); now_ += kInterval) {
    Beat(worker);
    Beat(other);
  }
  EXPECT_EQ(table_.PassOverIfDue(worker, now_), "");
  table_.NoteHandedIn(worker, /*holds_more=*/false, now_);
  // With nothing to do it may be there for ever.
  for (const absl::Duration start = now_; now_ - start < absl::Minutes(5); now_ += kInterval) {
    Beat(worker);
    Beat(other);
  }
  EXPECT_EQ(table_.PassOverIfDue(worker, now_), "");
}

// Rows 44 and 59 of the attacks.
TEST_F(WorkerTableTest, NamesAreShownAsTheyAreAndReasonsAreCut) {
  for (const char* const name : {"\x1b[31m", "a\nb", "\xc2\x9b"}) {
    EXPECT_STATUS(table_.Register(TestWorker(name), now_), absl::StatusCode::kInvalidArgument,
                  "which holds control characters: give the worker a --name");
  }
  const std::string id = Join("rollout-0");
  Beat(id, std::string(2'000'000, 'r'));
  EXPECT_EQ(table_.Statuses(now_)[0].blocked_reason(), std::string(1024, 'r'));
  Beat(id, "b\xff");
  EXPECT_EQ(table_.Statuses(now_)[0].blocked_reason(), "b\xEF\xBF\xBD");
}

TEST_F(WorkerTableTest, RefusesHeartbeatsThatCannotBeTrue) {
  v1::HeartbeatRequest request;
  request.set_worker_id(Join("rollout-0"));
  request.set_num_tokens_generated(-1);
  EXPECT_STATUS(table_.Heartbeat(request, now_), absl::StatusCode::kInvalidArgument, "num_tokens_generated is -1");
  request.clear_num_tokens_generated();
  request.mutable_held_policy()->set_policy_id(std::string(257, 'p'));
  EXPECT_STATUS(table_.Heartbeat(request, now_), absl::StatusCode::kInvalidArgument, "held_policy.policy_id has 257");
}

}  // namespace
}  // namespace grpo
