#include "common/thread_stacks.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

__attribute__((noinline)) int WaitForTheTestsEnd(const absl::Notification& end) {
  end.WaitForNotification();
  // Something left to do: no tail call.
  return end.HasBeenNotified() ? 1 : 0;
}

TEST(ThreadStacksTest, ShowsWhereEachThreadWaitsAndDisturbsNone) {
  InstallThreadStacks();
  absl::Notification end;
  std::atomic<int> num_ended = 0;
  constexpr int kNumThreads = 3;
  std::vector<std::thread> threads;
  for (int i = 0; i < kNumThreads; ++i) threads.emplace_back([&] { num_ended += WaitForTheTestsEnd(end); });
  const auto num_seen = [](const std::string& text) {
    int num = 0;
    for (size_t at = text.find("WaitForTheTestsEnd"); at != std::string::npos;
         at = text.find("WaitForTheTestsEnd", at + 1))
      ++num;
    return num;
  };
  // They may still be on their way there.
  std::string text;
  for (int i = 0; i < 1000 && num_seen(text) < kNumThreads; ++i) text = ThreadStacks();
  EXPECT_EQ(num_seen(text), kNumThreads) << text;
  EXPECT_TRUE(absl::StrContains(text, "thread ")) << text;
  EXPECT_EQ(num_ended, 0);
  end.Notify();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_ended, kNumThreads);
}

}  // namespace
}  // namespace grpo
