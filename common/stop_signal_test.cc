#include "common/stop_signal.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

using ::testing::ExitedWithCode;

enum class Process { kObeys, kNeverEnds };

// The table of stop_signal.h: a process, what it is sent, one after the other, and how it ends.
struct Case {
  std::vector<int> signals;
  int exit_code;
  // What it says on stderr.
  std::string said = "";
  Process process = Process::kObeys;
  bool hang_up_ignored = false;
  bool hang_up_stops = true;
};

__attribute__((noinline)) void WaitForEverInATest() {
  while (true) ::pause();
}

void Live(const Case& test_case) {
  InitLogging("test");
  if (test_case.hang_up_ignored) ::signal(SIGHUP, SIG_IGN);
  if (!test_case.hang_up_stops) ::signal(SIGHUP, [](int) {});
  InstallStopSignal({.hang_up_stops = test_case.hang_up_stops});
  if (test_case.process == Process::kNeverEnds) SetStopBound(absl::Milliseconds(500));
  for (const int signal_number : test_case.signals) ::raise(signal_number);
  if (test_case.process == Process::kNeverEnds) WaitForEverInATest();
  ::_exit(WaitForStop(absl::ZeroDuration()) ? kExitRetry : kExitOk);
}

TEST(StopSignalDeathTest, EverySignalDoesWhatTheTableSays) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::vector<Case> cases = {
      {.signals = {}, .exit_code = kExitOk},
      {.signals = {SIGTERM}, .exit_code = kExitRetry},
      {.signals = {SIGINT}, .exit_code = kExitRetry},
      {.signals = {SIGHUP}, .exit_code = kExitRetry},
      {.signals = {SIGTERM, SIGTERM}, .exit_code = kExitSignalBase + SIGTERM},
      {.signals = {SIGTERM, SIGINT}, .exit_code = kExitSignalBase + SIGINT},
      // A terminal that closes sends several; so does systemd, after SIGTERM.
      {.signals = {SIGHUP, SIGHUP, SIGTERM, SIGHUP}, .exit_code = kExitRetry},
      {.signals = {SIGHUP, SIGTERM, SIGTERM}, .exit_code = kExitSignalBase + SIGTERM},
      {.signals = {SIGHUP}, .exit_code = kExitOk, .hang_up_ignored = true},
      {.signals = {SIGHUP}, .exit_code = kExitOk, .hang_up_stops = false},
      {.signals = {SIGQUIT, SIGPIPE, SIGXFSZ}, .exit_code = kExitOk},
      {.signals = {SIGQUIT, SIGTERM}, .exit_code = kExitRetry},
      {.signals = {SIGTERM},
       .exit_code = kExitRetry,
       .said = "did not end within 0.5 s.*WaitForEverInATest",
       .process = Process::kNeverEnds},
      {.signals = {SIGQUIT, SIGQUIT, SIGHUP},
       .exit_code = kExitRetry,
       // The question may come before it waits.
       .said = "SIGQUIT: what every thread is doing.*thread .*did not end within.*WaitForEverInATest",
       .process = Process::kNeverEnds},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("case ", i));
    EXPECT_EXIT(Live(cases[i]), ExitedWithCode(cases[i].exit_code), cases[i].said);
  }
}

// As for a full disk: not the end of the process, and the file is named.
TEST(StopSignalDeathTest, AFileThatMayNotGrowFurtherIsAnErrorThatNamesIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto write = [] {
    InstallStopSignal();
    const rlimit limit = {.rlim_cur = 1 << 16, .rlim_max = 1 << 16};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status written = WriteFileSynced(::testing::TempDir() + "/large", std::string(1 << 17, 'x'));
    std::cerr << written;
    ::_exit(absl::IsResourceExhausted(written) ? kExitOk : kExitInternal);
  };
  EXPECT_EXIT(write(), ExitedWithCode(kExitOk), "write .*/large: File too large");
}

TEST(StopSignalDeathTest, AClosedPipeIsAnError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto write = [] {
    InstallStopSignal();
    int ends[2];
    if (::pipe(ends) != 0) ::_exit(kExitInternal);
    ::close(ends[0]);
    ::_exit(::write(ends[1], "x", 1) < 0 && errno == EPIPE ? kExitOk : kExitIo);
  };
  EXPECT_EXIT(write(), ExitedWithCode(kExitOk), "");
}

}  // namespace
}  // namespace grpo
