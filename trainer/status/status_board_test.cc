#include "trainer/status/status_board.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/rpc/refusals.h"
#include "common/status_testing.h"
#include "coordinator/coordinator.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::StartsWith;

class StatusBoardTest : public ::testing::Test {
 protected:
  static v1::RunStatus Initial() {
    v1::RunStatus status;
    status.set_run_id("run-a");
    status.set_state(v1::RUN_STATE_RUNNING);
    status.add_stages()->set_name("base");
    status.add_stages()->set_name("rl");
    return status;
  }

  static v1::RankStatus Rank(int32_t rank, const std::string& phase) {
    v1::RankStatus status;
    status.set_rank(rank);
    status.set_phase(phase);
    return status;
  }

  FakeClock clock_;
  Coordinator coordinator_{CoordinatorOptions(), {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}, clock_};
  StatusBoard board_{Initial(), &coordinator_, clock_};
};

TEST_F(StatusBoardTest, ASnapshotHasWhatWasWrittenAndTheTimeThatPassed) {
  clock_.Advance(absl::Milliseconds(1500));
  board_.Update([](v1::RunStatus& status) { status.set_stage_index(1); });
  board_.UpdateStage([](v1::StageStatus& stage) { stage.set_step(7); });
  board_.SetPhase("step");
  const v1::RunStatus status = board_.Snapshot();
  EXPECT_EQ(status.run_id(), "run-a");
  EXPECT_EQ(status.phase(), "step");
  EXPECT_EQ(status.stages(0).step(), 0);
  EXPECT_EQ(status.stages(1).step(), 7) << "the stage that runs";
  EXPECT_EQ(status.elapsed_seconds(), 1.5);
  EXPECT_EQ(status.state(), v1::RUN_STATE_RUNNING);
}

TEST_F(StatusBoardTest, AnAlertIsShownUntilItIsNoneAnyMoreAndWhoeverWasRefusedIsCounted) {
  const int64_t sequence = board_.Snapshot().sequence();
  board_.SetAlert("ranks", "in the clear");
  board_.SetAlert("certificates", "cannot be renewed");
  v1::RunStatus status = board_.Snapshot();
  ASSERT_EQ(status.alerts_size(), 2);
  EXPECT_EQ(status.alerts(0), "cannot be renewed") << "by matter";
  EXPECT_EQ(status.sequence(), sequence + 2);
  board_.SetAlert("certificates", "cannot be renewed");
  EXPECT_EQ(board_.Snapshot().sequence(), sequence + 2) << "nothing new";
  board_.SetAlert("certificates", "");
  status = board_.Snapshot();
  ASSERT_EQ(status.alerts_size(), 1);
  EXPECT_EQ(status.alerts(0), "in the clear");

  const int64_t num_refused =
      status.refused_callers().count("wrong_role") > 0 ? status.refused_callers().at("wrong_role") : 0;
  rpc::Refusals::OfProcess().Count(rpc::Refusal::kWrongRole, "a worker", "may not stop the run");
  EXPECT_EQ(board_.Snapshot().refused_callers().at("wrong_role"), num_refused + 1);
}

TEST_F(StatusBoardTest, EveryChangeHasItsNumber) {
  int64_t sequence = board_.Snapshot().sequence();
  const auto moved_on = [&] {
    const int64_t before = std::exchange(sequence, board_.Snapshot().sequence());
    return sequence == before + 1;
  };
  board_.SetPhase("step");
  EXPECT_TRUE(moved_on());
  board_.UpdateStage([](v1::StageStatus& stage) { stage.set_step(1); });
  EXPECT_TRUE(moved_on());
  board_.SetPauseReason("for a look");
  EXPECT_TRUE(moved_on());
  board_.SetCheckpoint(v1::CheckpointStatus());
  EXPECT_TRUE(moved_on());
  board_.SetCheckpointError("disk full");
  EXPECT_TRUE(moved_on());
  board_.Snapshot();
  EXPECT_EQ(board_.Snapshot().sequence(), sequence) << "whoever looks changes nothing";
}

TEST_F(StatusBoardTest, APausedRunSaysWhyAndOnlyWhileItWouldRun) {
  board_.SetPauseReason("paused by request; `grpoctl resume` goes on");
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_PAUSED);
  EXPECT_EQ(board_.Snapshot().state_reason(), "paused by request; `grpoctl resume` goes on");
  // A run that has ended is not paused, whatever was said before.
  for (const v1::RunState ended : {v1::RUN_STATE_FINISHED, v1::RUN_STATE_STOPPED, v1::RUN_STATE_FAILED}) {
    board_.Update([&](v1::RunStatus& status) { status.set_state(ended); });
    EXPECT_EQ(board_.Snapshot().state(), ended);
    EXPECT_EQ(board_.Snapshot().state_reason(), "");
  }
  board_.Update([](v1::RunStatus& status) { status.set_state(v1::RUN_STATE_RUNNING); });
  board_.SetPauseReason("");
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(board_.Snapshot().state_reason(), "");
}

TEST_F(StatusBoardTest, AStalledRunSaysWhoAndAPauseComesFirst) {
  board_.SetRanks({Rank(0, "step"), Rank(1, "all_reduce")}, "rank 1 has been in all_reduce for 90s");
  v1::RunStatus status = board_.Snapshot();
  EXPECT_EQ(status.state(), v1::RUN_STATE_STALLED);
  EXPECT_EQ(status.state_reason(), "rank 1 has been in all_reduce for 90s");
  ASSERT_EQ(status.ranks_size(), 2);
  EXPECT_EQ(status.ranks(1).phase(), "all_reduce");

  board_.SetPauseReason("for a look");
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_PAUSED);
  board_.SetPauseReason("");
  board_.SetRanks({Rank(0, "step")}, "");
  status = board_.Snapshot();
  EXPECT_EQ(status.state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(status.ranks_size(), 1) << "the ranks are those of the last look";
}

// The watchdog looks twice a second: watchers are not woken for ages that grew.
TEST_F(StatusBoardTest, WatchersAreWokenByABeginningAndAnEndOfAStallAlone) {
  const int64_t before = board_.Snapshot().sequence();
  board_.SetRanks({Rank(0, "step")}, "");
  EXPECT_EQ(board_.Snapshot().sequence(), before);
  board_.SetRanks({Rank(0, "step")}, "stalled for 60s");
  EXPECT_EQ(board_.Snapshot().sequence(), before + 1);
  board_.SetRanks({Rank(0, "step")}, "stalled for 61s");
  EXPECT_EQ(board_.Snapshot().sequence(), before + 1);
  board_.SetRanks({Rank(0, "step")}, "");
  EXPECT_EQ(board_.Snapshot().sequence(), before + 2);
}

TEST_F(StatusBoardTest, ARunThatWaitsForRolloutsWithoutAnyWorkerIsPausedAfterAWhile) {
  board_.SetPhase("wait_rollouts");
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING) << "they are starting";
  clock_.Advance(absl::Seconds(2));
  v1::RunStatus status = board_.Snapshot();
  EXPECT_EQ(status.state(), v1::RUN_STATE_PAUSED);
  EXPECT_THAT(status.state_reason(), StartsWith("no rollout worker has registered for 4s"));
  // In another phase it waits for nobody.
  board_.SetPhase("step");
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING);
  // What a person asked for is said before what the workers lack.
  board_.SetPhase("wait_rollouts");
  board_.SetPauseReason("for a look");
  EXPECT_EQ(board_.Snapshot().state_reason(), "for a look");
}

TEST_F(StatusBoardTest, WorkersRewardServersAndLeasesAreAsTheyAreNow) {
  ASSERT_OK(coordinator_.Register(TestWorker("rollout-0")));
  v1::RegisterRewardServerRequest reward;
  reward.set_protocol_version(kProtocolVersion);
  reward.set_build(kBuild);
  reward.set_name("reward-0");
  reward.set_address("127.0.0.1:7001");
  ASSERT_OK(coordinator_.RegisterRewardServer(reward));
  coordinator_.Publish(TestWeights(7));
  ASSERT_OK(coordinator_.Offer(TestGroups("rl", 0, 3)));
  const v1::RunStatus status = board_.Snapshot();
  ASSERT_EQ(status.workers_size(), 1);
  EXPECT_EQ(status.workers(0).name(), "rollout-0");
  ASSERT_EQ(status.reward_servers_size(), 1);
  EXPECT_EQ(status.reward_servers(0).address(), "127.0.0.1:7001");
  EXPECT_EQ(status.leases().num_pending(), 3);
  EXPECT_EQ(board_.Snapshot().workers_size(), 1) << "they do not pile up";
}

TEST_F(StatusBoardTest, TheNewestCheckpointHasItsAge) {
  EXPECT_EQ(board_.Snapshot().last_checkpoint().age_ms(), 0);
  v1::CheckpointStatus checkpoint;
  checkpoint.set_path("checkpoints/step-4");
  checkpoint.set_step(4);
  clock_.Advance(absl::Seconds(10));
  board_.SetCheckpoint(checkpoint);
  clock_.Advance(absl::Seconds(3));
  EXPECT_EQ(board_.Snapshot().last_checkpoint().step(), 4);
  EXPECT_EQ(board_.Snapshot().last_checkpoint().age_ms(), 3000);
}

// The last good checkpoint stays in sight beside the error, and a success takes the error away.
TEST_F(StatusBoardTest, AFailedSaveIsShownUntilOneSucceeds) {
  v1::CheckpointStatus checkpoint;
  checkpoint.set_path("checkpoints/step-4");
  board_.SetCheckpoint(checkpoint);
  board_.SetCheckpointError("No space left on device");
  EXPECT_EQ(board_.Snapshot().last_checkpoint().path(), "checkpoints/step-4");
  EXPECT_EQ(board_.Snapshot().last_checkpoint().error(), "No space left on device");
  checkpoint.set_path("checkpoints/step-6");
  board_.SetCheckpoint(checkpoint);
  EXPECT_EQ(board_.Snapshot().last_checkpoint().error(), "");
}

TEST_F(StatusBoardTest, WhoIsBehindGetsTheNewestAtOnce) {
  board_.SetPhase("step");
  board_.SetPhase("publish");
  EXPECT_EQ(board_.WaitForChange(/*sequence=*/1, absl::InfiniteDuration()).phase(), "publish");
}

TEST_F(StatusBoardTest, WithoutAChangeTheWaitEndsWithTheSame) {
  const v1::RunStatus before = board_.Snapshot();
  EXPECT_EQ(board_.WaitForChange(before.sequence(), absl::Milliseconds(1)).sequence(), before.sequence());
}

TEST_F(StatusBoardTest, AChangeWakesEveryWatcher) {
  constexpr int kNumWatchers = 3;
  const int64_t before = board_.Snapshot().sequence();
  std::vector<std::string> seen(kNumWatchers);
  std::vector<std::thread> watchers;
  for (int i = 0; i < kNumWatchers; ++i) {
    watchers.emplace_back([&, i] { seen[i] = board_.WaitForChange(before, absl::InfiniteDuration()).phase(); });
  }
  board_.SetPhase("save");
  for (std::thread& watcher : watchers) watcher.join();
  EXPECT_THAT(seen, ::testing::Each("save"));
}

// Writers and readers of many threads: each snapshot is whole.
TEST_F(StatusBoardTest, ASnapshotIsNeverHalfOfAChange) {
  absl::Notification done;
  board_.SetPhase("0");
  std::thread writer([&] {
    for (int64_t step = 1; step <= 2000; ++step) {
      board_.Update([&](v1::RunStatus& status) {
        status.set_phase(std::to_string(step));
        status.mutable_stages(0)->set_step(step);
      });
    }
    done.Notify();
  });
  int64_t last = 0;
  while (!done.HasBeenNotified()) {
    const v1::RunStatus status = board_.WaitForChange(last, absl::Milliseconds(10));
    EXPECT_GE(status.sequence(), last);
    last = status.sequence();
    EXPECT_EQ(status.phase(), std::to_string(status.stages(0).step()));
  }
  writer.join();
}

// Row 59 of the attacks, and as many workers and servers as may register with as long names as may be: a status that is
// larger than a message would be one for nobody.
TEST_F(StatusBoardTest, FitsInOneMessageWhateverOthersSayOfThemselves) {
  constexpr int kNumWorkers = 4000, kNumServers = 64;
  for (int i = 0; i < kNumWorkers; ++i) {
    const std::string number = absl::StrCat(100000 + i);
    ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse joined,
                         coordinator_.Register(TestWorker(number + std::string(256 - number.size(), 'n'))));
    v1::HeartbeatRequest beat;
    beat.set_worker_id(joined.worker_id());
    beat.set_blocked_reason(std::string(10'000, 'r'));
    ASSERT_OK(coordinator_.Heartbeat(beat));
  }
  v1::RegisterRewardServerRequest server;
  server.set_protocol_version(kProtocolVersion);
  server.set_address("a:1");
  for (int i = 0; i < 256; ++i) server.add_profiles()->set_name(std::string(256, 'p'));
  for (int i = 0; i < kNumServers; ++i) {
    server.set_name(absl::StrCat("reward-", i));
    ASSERT_OK(coordinator_.RegisterRewardServer(server));
  }
  // Those that are alive come before those that are lost.
  clock_.Advance(absl::Seconds(60));
  ASSERT_OK(coordinator_.Register(TestWorker("still-here")));
  board_.SetPauseReason("b\xff");
  const v1::RunStatus status = board_.Snapshot();
  EXPECT_LT(status.ByteSizeLong(), size_t{4} << 20);
  EXPECT_GT(status.workers_size(), 500);
  EXPECT_GT(status.num_unlisted(), 0);
  EXPECT_EQ(status.workers_size() + status.reward_servers_size() + status.num_unlisted(),
            kNumWorkers + 1 + kNumServers);
  EXPECT_EQ(status.workers(status.workers_size() - 1).name(), "still-here");
  EXPECT_EQ(status.state_reason(), "b\xEF\xBF\xBD");
}

}  // namespace
}  // namespace grpo
