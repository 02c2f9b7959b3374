#include "common/alarm.h"

#include <memory>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "common/wall_clock_testing.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);

TEST(AlarmTest, RingsOnceItsTimeHasCome) {
  // Whatever the wall clock says.
  const WallClockStep ahead(absl::Hours(1));
  Notification rung;
  const Alarm later(absl::Hours(1), [] { FAIL() << "too early"; });
  const Alarm alarm(absl::Milliseconds(20), [&] { rung.Notify(); });
  EXPECT_TRUE(rung.WaitFor(kLong));
}

TEST(AlarmTest, RingsInTheOrderOfTheirTimes) {
  Mutex mutex;
  std::vector<int> order;
  const auto ring = [&](int number) {
    return [&, number] {
      MutexLock lock(&mutex);
      order.push_back(number);
    };
  };
  const Alarm last(absl::Milliseconds(1500), ring(3)), first(absl::Milliseconds(200), ring(1)),
      second(absl::Milliseconds(400), ring(2));
  MutexLock lock(&mutex);
  EXPECT_TRUE(mutex.AwaitFor([&] { return order.size() == 3; }, kLong));
  EXPECT_EQ(order, std::vector<int>({1, 2, 3}));
}

TEST(AlarmTest, NeverRingsOnceItIsGone) {
  Notification rung;
  for (int i = 0; i < 1000; ++i) const Alarm gone(absl::Milliseconds(1000), [] { FAIL() << "rang for nobody"; });
  const Alarm after(absl::Milliseconds(1100), [&] { rung.Notify(); });
  EXPECT_TRUE(rung.WaitFor(kLong));
}

TEST(AlarmTest, IsNotGoneWhileItRings) {
  Notification rings, go_on;
  bool rung = false;
  auto alarm = std::make_unique<Alarm>(absl::ZeroDuration(), [&] {
    rings.Notify();
    go_on.WaitFor(kLong);
    rung = true;
  });
  ASSERT_TRUE(rings.WaitFor(kLong));
  // It may or may not wait already when this one goes on.
  std::thread helper([&] { go_on.Notify(); });
  alarm.reset();
  EXPECT_TRUE(rung);
  helper.join();
}

}  // namespace
}  // namespace grpo
