#include "common/mutex.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/wall_clock_testing.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

// For what comes at once: only a failure waits for it.
constexpr absl::Duration kLong = absl::Seconds(60);

struct Shared {
  Mutex mutex;
  int value ABSL_GUARDED_BY(mutex) = 0;

  bool Wait(int wanted, absl::Duration timeout) {
    MutexLock lock(&mutex);
    return mutex.AwaitFor([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return value == wanted; }, timeout);
  }
  void Set(int wanted) {
    MutexLock lock(&mutex);
    value = wanted;
  }
};

TEST(MutexTest, AWaitEndsWhenItsConditionHoldsAndNobodySignalsThat) {
  Shared shared;
  std::thread setter([&] { shared.Set(1); });
  EXPECT_TRUE(shared.Wait(1, kLong));
  setter.join();
}

TEST(MutexTest, AWaitEndsWithItsTimeout) {
  Shared shared;
  const absl::Duration begin = Clock::Real().Now();
  for (const absl::Duration timeout : {absl::Milliseconds(30), absl::ZeroDuration(), -absl::InfiniteDuration()})
    EXPECT_FALSE(shared.Wait(1, timeout));
  EXPECT_GE(Clock::Real().Now() - begin, absl::Milliseconds(30));
  EXPECT_LT(Clock::Real().Now() - begin, kLong);
}

TEST(MutexTest, OfThoseThatWaitForOneThingEachGetsOne) {
  Shared shared;
  constexpr int kThreads = 8, kEach = 200;
  std::atomic<int> num_taken = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        MutexLock lock(&shared.mutex);
        const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared.mutex) { return shared.value > 0; };
        if (!shared.mutex.AwaitFor(there, kLong)) return;
        --shared.value;
        ++num_taken;
      }
    });
  }
  // Two at a time, which one letting go of the lock must hand to two of them.
  for (int i = 0; i < kThreads * kEach / 2; ++i) {
    MutexLock lock(&shared.mutex);
    shared.value += 2;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_taken, kThreads * kEach);
}

// Two that take turns, each of whom begins to wait with what the other waits for in its own hands.
TEST(MutexTest, WhoBeginsToWaitLetsOthersGoOn) {
  Shared shared;
  const auto play = [&](int own, int other) {
    MutexLock lock(&shared.mutex);
    for (int i = 0; i < 1000; ++i) {
      const auto turn = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared.mutex) { return shared.value == own; };
      if (!shared.mutex.AwaitFor(turn, kLong)) return false;
      shared.value = other;
    }
    return true;
  };
  bool played = false;
  std::thread other([&] { played = play(1, 0); });
  EXPECT_TRUE(play(0, 1));
  other.join();
  EXPECT_TRUE(played);
}

TEST(MutexTest, ALockMayWaitForItsCondition) {
  Shared shared;
  std::thread setter([&] { shared.Set(1); });
  {
    const auto set = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared.mutex) { return shared.value == 1; };
    MutexLock lock(&shared.mutex, set);
    EXPECT_EQ(shared.value, 1);
  }
  setter.join();
}

TEST(CondVarTest, WaitsForASignalOrItsTimeout) {
  Mutex mutex;
  CondVar changed;
  bool done = false;
  std::thread signaller([&] {
    MutexLock lock(&mutex);
    done = true;
    changed.SignalAll();
  });
  {
    MutexLock lock(&mutex);
    const absl::Duration begin = Clock::Real().Now();
    while (!done && Clock::Real().Now() - begin < kLong) changed.WaitFor(&mutex, kLong);
    EXPECT_TRUE(done);
    // May return sooner, and does not hang.
    changed.WaitFor(&mutex, absl::Milliseconds(1));
  }
  signaller.join();
}

TEST(NotificationTest, IsWaitedForAndStays) {
  Notification notification;
  EXPECT_FALSE(notification.WaitFor(absl::Milliseconds(1)));
  std::thread notifier([&] { notification.Notify(); });
  EXPECT_TRUE(notification.WaitFor(kLong));
  EXPECT_TRUE(notification.WaitFor(absl::ZeroDuration()));
  notifier.join();
}

// Issue 18, attack 38. Abseil's waits would last for the hour.
TEST(WallClockTest, NoTimeoutIsMeasuredByIt) {
  const absl::Time before = absl::Now();
  const WallClockStep ahead(absl::Hours(1));
  ASSERT_GT(absl::Now() - before, absl::Minutes(59)) << "the test's clock does not stand before the C library's";
  const absl::Duration begin = Clock::Real().Now();
  Shared shared;
  EXPECT_FALSE(shared.Wait(1, absl::Milliseconds(20)));
  Notification notification;
  EXPECT_FALSE(notification.WaitFor(absl::Milliseconds(20)));
  MutexLock lock(&shared.mutex);
  CondVar changed;
  changed.WaitFor(&shared.mutex, absl::Milliseconds(20));
  EXPECT_LT(Clock::Real().Now() - begin, kLong);
}

}  // namespace
}  // namespace grpo
