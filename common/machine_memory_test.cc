#include "common/machine_memory.h"

#include <filesystem>
#include <string>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

class MachineMemoryTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& content) const {
    const std::string file = root_ + path;
    ASSERT_OK(MakeFolders(file.substr(0, file.rfind('/'))));
    ASSERT_OK(WriteFileSynced(file, content));
  }

  const std::string root_ = testing::TempDir() + "/machine_memory_test";
};

TEST_F(MachineMemoryTest, IsTheMachinesWithoutALimit) {
  EXPECT_EQ(MachineMemoryBytesUnder(root_), std::nullopt);
  Write("/proc/meminfo", "MemTotal:       24576000 kB\nMemFree:        17000000 kB\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 24576000 * int64_t{1024});
  Write("/proc/self/cgroup", "4:memory:/somewhere\n0::/\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 24576000 * int64_t{1024});
  Write("/sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 24576000 * int64_t{1024});
  Write("/sys/fs/cgroup/memory.max", "1000000\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 1000000);
}

TEST_F(MachineMemoryTest, IsTheLeastOfTheGroupsAroundTheProcess) {
  Write("/proc/meminfo", "MemTotal:       24576000 kB\n");
  Write("/proc/self/cgroup", "0::/machine.slice/job\n");
  Write("/sys/fs/cgroup/machine.slice/job/memory.max", "5000000\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 5000000);
  Write("/sys/fs/cgroup/machine.slice/memory.max", "3000000\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 3000000);
  Write("/sys/fs/cgroup/machine.slice/memory.max", "max\n");
  Write("/sys/fs/cgroup/memory.max", "4000000\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 4000000);
  // The limit outside counts where the system says nothing of the machine.
  std::filesystem::remove(root_ + "/proc/meminfo");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), 4000000);
}

TEST_F(MachineMemoryTest, WhatCannotBeReadIsNotKnown) {
  Write("/proc/meminfo", "MemTotal: much\n");
  Write("/proc/self/cgroup", "0::\n");
  Write("/sys/fs/cgroup/memory.max", "\n");
  EXPECT_EQ(MachineMemoryBytesUnder(root_), std::nullopt);
}

TEST_F(MachineMemoryTest, IsKnownOfThisMachine) {
  const std::optional<int64_t> bytes = MachineMemoryBytes();
  ASSERT_TRUE(bytes.has_value());
  EXPECT_GT(*bytes, int64_t{16} << 20);
}

}  // namespace
}  // namespace grpo
