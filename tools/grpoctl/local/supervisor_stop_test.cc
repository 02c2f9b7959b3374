#include <signal.h>
#include <unistd.h>

#include "common/exit_codes.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/local/supervisor_testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// --- The table of Supervisor::Stop: where the trainer is when a stop comes, and how the run ends ---

struct StopCase {
  std::string name;
  // What a trainer does that serves, and on SIGTERM, as of when it serves.
  std::string script;
  std::string on_term;
  int exit_code;
  // The last note.
  std::string said;
  absl::Duration bound = absl::Hours(1000);
  enum { kServes, kNotStarted, kWaitsForRestart, kStopped } state = kServes;
};

// A trainer that does what it can about SIGTERM.
constexpr char kForEver[] = "while :; do sleep 0.02; done";

TEST_F(SupervisorTest, StoppingAlwaysEnds) {
  const std::string die = dir_ + "/die";
  const std::string until_die = absl::StrCat("while [ ! -e ", die, " ]; do sleep 0.01; done; kill -9 $$");
  const std::vector<StopCase> cases = {
      {"saves", kForEver, "'exit 75'", kExitRetry, ""},
      {"fails_to_save", kForEver, "'exit 1'", kExitRunFailed, ""},
      {.name = "not_started",
       .exit_code = kExitRetry,
       .said = "before the trainer was started",
       .state = StopCase::kNotStarted},
      {.name = "waits_for_restart",
       .script = until_die,
       .on_term = "'exit 75'",
       .exit_code = kExitRetry,
       .said = "waited to be started again",
       .state = StopCase::kWaitsForRestart},
      {"killed_while_saving", kForEver, "'kill -9 $$'", kExitRetry, "signal 9 (Killed) instead of saving"},
      // A signal that comes before the handler is there.
      {"no_handler_yet", kForEver, "-", kExitRetry, "signal 15 (Terminated) instead of saving"},
      {"deaf", kForEver, "''", kExitRetry, "did not end within 60 s of the stop and is killed", absl::Minutes(1)},
      {"stopped", kForEver, "'exit 75'", kExitRetry, "is killed", absl::Minutes(1), StopCase::kStopped},
  };
  for (const StopCase& test_case : cases) {
    SCOPED_TRACE(test_case.name);
    notes_.clear();
    ::unlink(die.c_str());
    Supervisor& supervisor = Make({});
    const std::string name = absl::StrCat("trainer-", test_case.name);
    if (test_case.state != StopCase::kNotStarted) {
      ASSERT_OK(supervisor.Start(Server(Role::kTrainer, name, test_case.script, test_case.on_term)));
      // Not by PollUntil, whose clock runs: the restart is to be waited for.
      const auto is_there = [&] {
        const bool lives = supervisor.TrainerPid(/*serving=*/false).has_value();
        return test_case.state == StopCase::kWaitsForRestart ? !lives : supervisor.Address(name).has_value();
      };
      for (int i = 0; i < 4000 && !is_there(); ++i) {
        ASSERT_EQ(supervisor.Poll(), std::nullopt);
        if (supervisor.Address(name).has_value()) {
          ASSERT_OK(WriteFileSynced(die, ""));
        }
        absl::SleepFor(absl::Milliseconds(5));
      }
      ASSERT_TRUE(is_there());
      if (test_case.state == StopCase::kStopped) ::kill(*supervisor.TrainerPid(/*serving=*/true), SIGSTOP);
    }
    // Another process of the run has no say in it.
    ASSERT_OK(supervisor.Start(Worker("exec sleep 1000")));
    supervisor.Stop(test_case.bound);
    const std::optional<RunEnd> end = PollToEnd();
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, test_case.exit_code);
    if (test_case.said.empty()) continue;
    ASSERT_FALSE(notes_.empty());
    EXPECT_THAT(notes_.back(), HasSubstr(test_case.said));
  }
}

TEST_F(SupervisorTest, ARankThatLosesAnotherDuringAStopEndsTheRunForARetry) {
  Supervisor& supervisor = Make({});
  const auto ranks = Ranks(Server(Role::kTrainer, "trainer", kForEver, "'exit 69'"),
                           Script(Role::kTrainerRank, "trainer-1", "exec sleep 1000"));
  for (const PlannedProcess& rank : ranks) ASSERT_OK(supervisor.Start(rank));
  ASSERT_EQ(PollUntil([&] { return supervisor.Address("trainer").has_value(); }), std::nullopt);
  supervisor.Stop(absl::Hours(1000));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitRetry);
  EXPECT_THAT(notes_.back(), HasSubstr("exit code 69 instead of saving"));
}

TEST_F(SupervisorTest, AQuestionThatComesBeforeItsHandlerEndsNoChild) {
  Supervisor& supervisor = Make({});
  const std::string go = dir_ + "/go";
  ::unlink(go.c_str());
  ASSERT_OK(supervisor.Start(
      Server(Role::kTrainer, "trainer", absl::StrCat("while [ ! -e ", go, " ]; do sleep 0.01; done; exit 0"))));
  ASSERT_EQ(PollUntil([&] { return supervisor.Address("trainer").has_value(); }), std::nullopt);
  supervisor.SignalAll(SIGQUIT);
  ASSERT_OK(WriteFileSynced(go, ""));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitOk);
}

}  // namespace
}  // namespace grpo
