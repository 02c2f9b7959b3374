#include "common/process_memory.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "common/status_testing.h"

namespace grpo {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(ProcessMemoryTest, SeesWhatAProcessHasAtMost) {
  const std::optional<ProcessId> self = IdentifyProcess(::getpid());
  ASSERT_TRUE(self.has_value());
  EXPECT_EQ(self->pid, ::getpid());
  EXPECT_EQ(IdentifyProcess(::getpid()), self);
  const std::optional<int64_t> before = PeakMemoryOf(*self);
  ASSERT_TRUE(before.has_value());
  constexpr int64_t kSize = 256 * kMiB;
  {
    const auto block = std::make_unique<char[]>(kSize);
    std::memset(block.get(), 1, kSize);
    // What was there before may have been given back meanwhile; the block is much larger than that.
    EXPECT_GE(PeakMemoryOf(*self).value_or(0), *before + kSize / 2);
  }
  EXPECT_GE(PeakMemoryOf(*self).value_or(0), *before + kSize / 2) << "a peak does not fall by itself";
}

TEST(ProcessMemoryTest, AProcessThatHasEndedHasNone) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const std::optional<ProcessId> id = IdentifyProcess(child);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(id.has_value());
  EXPECT_FALSE(PeakMemoryOf(*id).has_value());
  EXPECT_FALSE(IdentifyProcess(child).has_value());
  ForgetPeakMemory(*id);
}

TEST(ProcessMemoryTest, ALaterProcessOfTheSameNumberIsAnother) {
  std::optional<ProcessId> earlier = IdentifyProcess(::getpid());
  ASSERT_TRUE(earlier.has_value());
  --earlier->start_ticks;
  EXPECT_FALSE(PeakMemoryOf(*earlier).has_value());
}

}  // namespace
}  // namespace grpo
