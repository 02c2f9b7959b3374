#include "trainer/stage/saver.h"

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// A run that is going on, without stages, on a disk that is full.
class RunSaverTest : public ::testing::Test {
 protected:
  static v1::RunStatus Running() {
    v1::RunStatus status;
    status.set_state(v1::RUN_STATE_RUNNING);
    return status;
  }

  absl::Status SaveAsConfigured(const std::string& on_error) {
    RunSaver saver(&control_, on_error, [this](const StageCursor& cursor) -> absl::StatusOr<v1::CheckpointStatus> {
      ++num_saves_;
      saved_step_ = cursor.progress.step;
      if (disk_is_full_) return absl::ResourceExhaustedError("write x: No space left on device");
      return v1::CheckpointStatus();
    });
    return saver.Save("at step 7 of tune", [] { return StageCursor{.progress = {.step = 7}}; });
  }
  v1::RunStatus WaitForState(v1::RunState state) const {
    v1::RunStatus status = board_.Snapshot();
    while (status.state() != state) status = board_.WaitForChange(status.sequence(), absl::Seconds(30));
    return status;
  }

  Coordinator coordinator_{{}, {.run_id = "r", .config_sha256 = "", .epoch = 1}};
  StatusBoard board_{Running(), &coordinator_};
  RunControl control_{&board_};
  std::atomic<bool> disk_is_full_{true};
  std::atomic<int> num_saves_{0};
  std::atomic<int64_t> saved_step_{-1};
};

TEST_F(RunSaverTest, AFailedSaveLeavesARunGoingOnByDefault) {
  EXPECT_OK(SaveAsConfigured("continue"));
  EXPECT_EQ(num_saves_, 1);
  EXPECT_EQ(saved_step_, 7);
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING);
}

TEST_F(RunSaverTest, AFailedSavePausesUntilOneSucceedsWhereThatIsConfigured) {
  absl::Notification saved;
  std::thread training([&] {
    EXPECT_OK(SaveAsConfigured("pause"));
    saved.Notify();
  });
  const std::string reason = WaitForState(v1::RUN_STATE_PAUSED).state_reason();
  for (const char* text : {"no checkpoint at step 7 of tune: write x: No space left", "`grpoctl resume` tries again"})
    EXPECT_THAT(reason, HasSubstr(text));
  EXPECT_FALSE(saved.HasBeenNotified());
  disk_is_full_ = false;
  control_.Resume();
  training.join();
  EXPECT_EQ(num_saves_, 2);
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING);
}

TEST_F(RunSaverTest, WhatForbidsToWriteIsHeardBeforeAPollAndBeforeASave) {
  RunSaver saver(&control_, "continue", [this](const StageCursor&) -> absl::StatusOr<v1::CheckpointStatus> {
    ++num_saves_;
    return v1::CheckpointStatus();
  });
  saver.OnPoll([] { return absl::FailedPreconditionError("another has the folder"); });
  const auto cursor = [] { return StageCursor(); };
  control_.Stop();
  EXPECT_STATUS(saver.Poll(cursor), absl::StatusCode::kFailedPrecondition, "another has the folder");
  EXPECT_STATUS(saver.Save("at step 7", cursor), absl::StatusCode::kFailedPrecondition, "another has the folder");
  EXPECT_EQ(num_saves_, 0);
}

TEST_F(RunSaverTest, ARunThatPausesForASaveCanBeStoppedAndSaysThatNothingWasSaved) {
  std::thread training([&] {
    EXPECT_STATUS(SaveAsConfigured("pause"), absl::StatusCode::kResourceExhausted,
                  "stopped, and the checkpoint could not be saved");
  });
  WaitForState(v1::RUN_STATE_PAUSED);
  control_.Stop();
  training.join();
}

}  // namespace
}  // namespace grpo
