#include "tools/grpoctl/local/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/records/log_tail.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr absl::Duration kPatience = absl::Minutes(1);

std::string LogPath(const std::string& name) {
  const std::string path = ::testing::TempDir() + "/" + name + ".log";
  ::unlink(path.c_str());
  return path;
}

// Whether a process ends within kPatience: gone, or a zombie that whoever inherited it has not reaped yet.
bool Ends(const std::string& pid) {
  const std::string stat = absl::StrCat("/proc/", pid, "/stat");
  for (absl::Duration waited; waited < kPatience; waited += absl::Milliseconds(10)) {
    const absl::StatusOr<std::string> state = ReadFile(stat);
    if (!state.ok() || absl::StrContains(*state, ") Z ")) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

std::vector<std::string> Shell(const std::string& script) {
  return {"/bin/sh", "-c", script};
}

TEST(ProcessTest, ReportsExitCodeAndWritesBothStreamsToTheLog) {
  const std::string log = LogPath("exit");
  ASSERT_OK_AND_ASSIGN(const auto process, Process::Start(Shell("echo out; echo err >&2; exit 78"), log));
  EXPECT_THAT(process->WaitFor(kPatience), Optional(78));
  EXPECT_THAT(LastLines(log, 10), ElementsAre("out", "err"));
}

TEST(ProcessTest, AppendsToTheLog) {
  const std::string log = LogPath("append");
  for (const char* script : {"echo first", "echo second"}) {
    ASSERT_OK_AND_ASSIGN(const auto process, Process::Start(Shell(script), log));
    ASSERT_TRUE(process->WaitFor(kPatience).has_value());
  }
  EXPECT_THAT(LastLines(log, 10), ElementsAre("first", "second"));
  EXPECT_THAT(LastLines(log, 1), ElementsAre("second"));
}

TEST(ProcessTest, ReportsSignalsAs128PlusN) {
  ASSERT_OK_AND_ASSIGN(const auto process, Process::Start({"/bin/sleep", "1000"}, LogPath("signal")));
  EXPECT_EQ(process->Poll(), std::nullopt);
  process->Signal(SIGTERM);
  EXPECT_THAT(process->WaitFor(kPatience), Optional(128 + SIGTERM));
}

TEST(ProcessTest, NamesAProgramThatIsNotThere) {
  EXPECT_STATUS(Process::Start({"/nowhere/program"}, LogPath("missing")), absl::StatusCode::kNotFound,
                "/nowhere/program");
}

TEST(ProcessTest, NamesALogThatCannotBeWritten) {
  EXPECT_STATUS(Process::Start(Shell("true"), "/nowhere/x.log"), absl::StatusCode::kNotFound, "/nowhere/x.log");
}

TEST(ProcessTest, RunsInAProcessGroupOfItsOwn) {
  ASSERT_OK_AND_ASSIGN(const auto process, Process::Start({"/bin/sleep", "1000"}, LogPath("group")));
  EXPECT_EQ(::getpgid(process->pid()), process->pid());
}

TEST(ProcessTest, DestructionEndsTheChildAndItsChildren) {
  const std::string log = LogPath("destroy");
  std::vector<std::string> lines;
  {
    ASSERT_OK_AND_ASSIGN(const auto process, Process::Start(Shell("trap '' TERM; sleep 1000 & echo $!; wait"), log));
    for (int i = 0; i < 2000 && lines.empty(); ++i) {
      absl::SleepFor(absl::Milliseconds(10));
      lines = LastLines(log, 1);
    }
  }
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(Ends(lines[0]));
}

TEST(ProcessTest, ChildDiesWithAParentThatIsKilled) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const std::string log = LogPath("pdeathsig");
  const pid_t parent = ::fork();
  if (parent == 0) {
    const auto process = Process::Start({"/bin/sleep", "1000"}, log);
    const pid_t pid = process.ok() ? (*process)->pid() : 0;
    [[maybe_unused]] const ssize_t written = ::write(pipe_fds[1], &pid, sizeof(pid));
    ::pause();
    ::_exit(0);
  }
  pid_t child = 0;
  ASSERT_EQ(::read(pipe_fds[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  ASSERT_GT(child, 0);
  ASSERT_EQ(::kill(child, 0), 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(Ends(absl::StrCat(child)));
}

}  // namespace
}  // namespace grpo
