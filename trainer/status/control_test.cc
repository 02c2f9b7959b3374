#include "trainer/status/control.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

absl::StatusOr<v1::CheckpointStatus> SavedAt(int64_t step) {
  v1::CheckpointStatus status;
  status.set_step(step);
  return status;
}

TEST(RunControlTest, NothingAskedForNothingHappens) {
  RunControl control;
  int saves = 0;
  EXPECT_OK(control.Poll([&] {
    ++saves;
    return SavedAt(1);
  }));
  EXPECT_EQ(saves, 0);
}

TEST(RunControlTest, ASaveRequestGetsTheStateOfTheNextStep) {
  RunControl control;
  absl::StatusOr<v1::CheckpointStatus> answer;
  absl::Notification answered;
  std::thread caller([&] {
    answer = control.SaveCheckpoint(absl::Seconds(30));
    answered.Notify();
  });
  for (int64_t step = 5; !answered.HasBeenNotified(); ++step) EXPECT_OK(control.Poll([&] { return SavedAt(step); }));
  caller.join();
  ASSERT_OK(answer);
  EXPECT_GE(answer->step(), 5);
}

TEST(RunControlTest, AFailedSaveIsAnsweredWithItsError) {
  RunControl control;
  absl::Status answer;
  absl::Notification answered;
  std::thread caller([&] {
    answer = control.SaveCheckpoint(absl::Seconds(30)).status();
    answered.Notify();
  });
  while (!answered.HasBeenNotified()) {
    EXPECT_OK(control.Poll(
        []() -> absl::StatusOr<v1::CheckpointStatus> { return absl::ResourceExhaustedError("disk full"); }));
  }
  caller.join();
  EXPECT_STATUS(answer, absl::StatusCode::kResourceExhausted, "disk full");
}

TEST(RunControlTest, APausedRunStillSavesAndGoesOnWhenResumed) {
  RunControl control;
  control.Pause("for a look");
  absl::Notification passed;
  std::thread training([&] {
    EXPECT_OK(control.Poll([] { return SavedAt(3); }));
    passed.Notify();
  });
  ASSERT_OK_AND_ASSIGN(const v1::CheckpointStatus saved, control.SaveCheckpoint(absl::Seconds(30)));
  EXPECT_EQ(saved.step(), 3);
  EXPECT_FALSE(passed.HasBeenNotified());
  control.Resume();
  training.join();
}

TEST(RunControlTest, AStopSavesFirst) {
  RunControl control;
  control.Stop();
  int saves = 0;
  EXPECT_STATUS(control.Poll([&] {
    ++saves;
    return SavedAt(1);
  }),
                absl::StatusCode::kAborted, "--resume");
  EXPECT_EQ(saves, 1);
  EXPECT_TRUE(control.stopped_by_request());
}

TEST(RunControlTest, ARequestAfterTheEndIsRefused) {
  RunControl control;
  control.End();
  EXPECT_STATUS(control.SaveCheckpoint(absl::Seconds(30)), absl::StatusCode::kAborted, "ended");
}

}  // namespace
}  // namespace grpo
