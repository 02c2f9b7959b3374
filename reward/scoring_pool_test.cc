#include "reward/scoring_pool.h"

#include <atomic>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

constexpr std::chrono::hours kNever(1);

TEST(ScoringPool, WorkThatBlocksDoesNotStandInTheWay) {
  // Outlive the pool, whose work uses them.
  absl::Notification release, others_ran;
  std::atomic<int> left = 100;
  ScoringPool pool(/*threads=*/1);
  for (int i = 0; i < 10; ++i) pool.Add([&] { release.WaitForNotification(); }, kNever, nullptr);
  for (int i = 0; i < 100; ++i) {
    pool.Add(
        [&] {
          if (--left == 0) others_ran.Notify();
        },
        kNever, nullptr);
  }
  // With one thread and no more they would wait for ever.
  others_ran.WaitForNotification();
  EXPECT_EQ(pool.num_slow(), 10);
  release.Notify();
}

TEST(ScoringPool, SaysOnceThatWorkIsLateAndLetsItGoOn) {
  absl::Notification late, ended;
  std::atomic<int> num_late = 0;
  ScoringPool pool(1);
  pool.Add(
      [&] {
        late.WaitForNotification();
        ended.Notify();
      },
      std::chrono::milliseconds(1),
      [&] {
        ++num_late;
        late.Notify();
      });
  ended.WaitForNotification();
  pool.Add([] {}, kNever, [&] { ++num_late; });
  EXPECT_EQ(num_late, 1);
}

TEST(ScoringPool, TimersCallUnlessCancelled) {
  absl::Notification called;
  std::atomic<bool> cancelled_called = false;
  ScoringPool pool(1);
  const auto now = ScoringPool::Clock::now();
  const auto timer = pool.CallAt(now + std::chrono::hours(1), [&] { cancelled_called = true; });
  pool.CallAt(now + std::chrono::milliseconds(1), [&] { called.Notify(); });
  pool.Cancel(timer);
  called.WaitForNotification();
  EXPECT_FALSE(cancelled_called);
}

TEST(ScoringPool, EndsAfterAllThatWasAdded) {
  std::atomic<int> done = 0;
  {
    ScoringPool pool(3);
    for (int i = 0; i < 1000; ++i) pool.Add([&] { ++done; }, kNever, nullptr);
  }
  EXPECT_EQ(done, 1000);
}

}  // namespace
}  // namespace grpo
