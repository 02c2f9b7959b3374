#include "tools/doctor/machine.h"

#include <sys/resource.h>

#include <algorithm>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

TEST(MachineTest, ProgramsAreRunAndTheirWordsAndCodesComeBack) {
  const Machine& machine = ThisMachine();
  ASSERT_OK_AND_ASSIGN(const std::string said, machine.Run({"sh", "-c", "echo out; echo err >&2"}));
  EXPECT_EQ(said, "out\n");
  EXPECT_STATUS(machine.Run({"sh", "-c", "echo why >&2; exit 3"}), absl::StatusCode::kUnavailable, "exit code 3: why");
  EXPECT_STATUS(machine.Run({"no-such-program-anywhere"}), absl::StatusCode::kNotFound, "no-such-program-anywhere");
  EXPECT_NE(machine.Which("sh"), "");
  EXPECT_EQ(machine.Which("no-such-program-anywhere"), "");
}

TEST(MachineTest, FilesAndFoldersOfTheSystemAreRead) {
  const Machine& machine = ThisMachine();
  EXPECT_THAT(machine.Read("/proc/sys/kernel/ostype").value_or(""), HasSubstr("Linux"));
  EXPECT_EQ(machine.Read("/proc/no/such/file"), std::nullopt);
  EXPECT_THAT(machine.List("/proc/self"), ::testing::Contains("status"));
  EXPECT_TRUE(machine.List("/no/such/folder").empty());
  ASSERT_TRUE(machine.Space("/").has_value());
  EXPECT_GT(machine.Space("/")->bytes_total, 0);
  EXPECT_EQ(machine.Space("/no/such/folder"), std::nullopt);
}

TEST(MachineTest, LimitsAndProcessorsAreThisProcesss) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_CORE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_CORE, &none), 0);
  EXPECT_EQ(ThisMachine().Limit(RLIMIT_CORE), 0);
  ASSERT_EQ(::setrlimit(RLIMIT_CORE, &before), 0);
  EXPECT_GE(ThisMachine().NumProcessors(), 1);
}

TEST(MachineTest, NamesAndPortsAreTried) {
  const Machine& machine = ThisMachine();
  EXPECT_THAT(machine.Resolve("127.0.0.1"), ::testing::Contains("127.0.0.1"));
  EXPECT_TRUE(machine.Resolve("no-such-name.invalid").empty());
  EXPECT_OK(machine.CanBind("127.0.0.1", 0));
  // 192.0.2.0/24 is reserved for documentation.
  EXPECT_FALSE(machine.CanBind("192.0.2.1", 0).ok());
  EXPECT_FALSE(machine.CanBind("no-such-name.invalid", 0).ok());
}

TEST(MachineTest, TheClockIsAfterThisWasWritten) {
  EXPECT_GT(ThisMachine().Now(), absl::FromUnixSeconds(1700000000));
}

}  // namespace
}  // namespace grpo
