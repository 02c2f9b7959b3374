// Processes behind a starter, which here is a shell script that does as srun does: it passes one signal on, kills by
// another, and ends with the code of what it started.
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/local/supervisor_testing.h"
#include "tools/grpoctl/records/log_tail.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Runs its arguments. What it starts has a session of its own, as it would have on another machine; TERM, the signal
// that Server's scripts stop by, is what it makes of USR1.
constexpr char kStarter[] = R"(
  setsid "$@" & child=$!
  trap 'kill -TERM $child' USR1
  trap 'echo killed; kill -KILL $child' TERM
  while :; do wait $child; code=$?; kill -0 $child 2>/dev/null || break; done
  exit $code
)";

class SupervisorStarterTest : public SupervisorTest {
 protected:
  PlannedProcess Behind(PlannedProcess process, const std::string& starter = kStarter) {
    process.host = "n2";
    process.starter = {.argv = {"/bin/bash", "-c", starter, "starter"}, .stop_signal = SIGUSR1, .kill_signal = SIGTERM};
    return process;
  }
};

TEST_F(SupervisorStarterTest, AStopIsTheSignalThatIsPassedOn) {
  Supervisor& supervisor = Make({});
  ASSERT_OK(supervisor.Start(Behind(Server(Role::kTrainer, "trainer", "while :; do sleep 0.02; done"))));
  EXPECT_EQ(PollUntil([&] { return supervisor.Address("trainer").has_value(); }), std::nullopt);
  supervisor.Stop(absl::Hours(1000));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitRetry);
  EXPECT_THAT(end->message, HasSubstr("trainer ended with exit code 75"));
}

TEST_F(SupervisorStarterTest, WhatIsKilledIsGoneWhenItsStarterIs) {
  Supervisor& supervisor = Make({});
  const std::string log = dir_ + "/worker.log";
  ASSERT_OK(supervisor.Start(Behind(Worker("trap '' TERM; echo $$; while :; do sleep 0.02; done"))));
  EXPECT_EQ(PollUntil([&] { return LastLines(log, 9).size() == 1; }), std::nullopt);
  const std::string pid = LastLines(log, 9)[0];
  // SIGQUIT would end the starter.
  supervisor.SignalAll(SIGQUIT);
  supervisor.StopAll(/*grace=*/absl::ZeroDuration());
  EXPECT_NE(::kill(static_cast<pid_t>(std::stoi(pid)), 0), 0);
}

TEST_F(SupervisorStarterTest, WithoutItsMachineAWorkerIsTriedAgainAndCostsTheRunNothing) {
  Supervisor& supervisor = Make({.max_restarts_per_role = 0, .start_again_after = absl::Seconds(30)});
  const std::string log = dir_ + "/worker.log";
  ASSERT_OK(supervisor.Start(Behind(Worker("exit 0"), "echo no machine; exit 233")));
  EXPECT_EQ(PollUntil([&] { return LastLines(log, 9).size() == 4; }), std::nullopt);
  ASSERT_FALSE(notes_.empty());
  EXPECT_THAT(notes_[0],
              HasSubstr("worker could not be started on n2 (/bin/bash says 233); the run goes on without it"));
}

TEST_F(SupervisorStarterTest, WithoutARanksMachineTheRunGoesOnElsewhere) {
  Supervisor& supervisor = Make({.max_failed_starts = 3});
  const std::string log = dir_ + "/trainer-1.log";
  ASSERT_OK(supervisor.Start(Server(Role::kTrainer, "trainer", "while :; do sleep 0.02; done")));
  ASSERT_OK(supervisor.Start(Behind(Script(Role::kTrainerRank, "trainer-1", "exit 0"), "echo no machine; exit 222")));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitRetry);
  EXPECT_THAT(LastLines(log, 9), ElementsAre("no machine", "no machine", "no machine"));
  EXPECT_THAT(notes_.back(), HasSubstr("the trainer needs n2"));
}

}  // namespace
}  // namespace grpo
