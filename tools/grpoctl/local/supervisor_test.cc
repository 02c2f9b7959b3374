#include "tools/grpoctl/local/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/records/log_tail.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Children are shell scripts; delays before restarts run on a fake clock.
class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() { EXPECT_OK(MakeFolders(dir_)); }

  PlannedProcess Script(Role role, const std::string& name, const std::string& script) {
    PlannedProcess process;
    process.name = name;
    process.role = role;
    process.log_path = absl::StrCat(dir_, "/", name, ".log");
    ::unlink(process.log_path.c_str());
    // $1 is the attempt, $2 the port of the attempt before.
    process.argv = {{"/bin/sh"}, {"-c"}, {script}, {"sh"}, {"", Late::kAttempt}, {"", Late::kPort}};
    return process;
  }
  PlannedProcess Worker(const std::string& script) { return Script(Role::kRolloutWorker, "worker", script); }

  // A child that exits with 75 on SIGTERM, serves at 127.0.0.1:77 and goes on with `script`.
  PlannedProcess Server(Role role, const std::string& name, const std::string& script) {
    const std::string endpoint = absl::StrCat(dir_, "/", name, ".json");
    PlannedProcess process = Script(role, name,
                                    absl::StrCat("trap 'exit 75' TERM; echo '{\"address\":\"127.0.0.1:77\"}' > ",
                                                 endpoint, ".tmp; mv ", endpoint, ".tmp ", endpoint, "; ", script));
    process.endpoint_path = endpoint;
    return process;
  }

  Supervisor& Make(const Supervisor::Options& options) {
    supervisor_.emplace(options, clock_, [this](const std::string& note) { notes_.push_back(note); });
    return *supervisor_;
  }

  // Polls until the run ends or `done`; the fake clock runs ahead, so that no restart has to be waited for.
  template <typename Done>
  std::optional<RunEnd> PollUntil(Done done) {
    for (int i = 0; i < 4000; ++i) {
      const std::optional<RunEnd> end = supervisor_->Poll();
      if (end.has_value() || done()) return end;
      clock_.Advance(absl::Seconds(1));
      absl::SleepFor(absl::Milliseconds(5));
    }
    ADD_FAILURE() << "nothing happened";
    return std::nullopt;
  }
  std::optional<RunEnd> PollToEnd() {
    return PollUntil([] { return false; });
  }

  const std::string dir_ =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  FakeClock clock_;
  std::vector<std::string> notes_;
  std::optional<Supervisor> supervisor_;
};

TEST_F(SupervisorTest, TrainersEndIsTheRunsEndWithItsCode) {
  for (const int code : {0, 1, 75}) {
    Supervisor& supervisor = Make({});
    ASSERT_OK(supervisor.Start(Server(Role::kTrainer, "trainer", absl::StrCat("echo said; exit ", code))));
    const std::optional<RunEnd> end = PollToEnd();
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, code);
    if (code == 0) {
      EXPECT_EQ(end->message, "");
    } else {
      EXPECT_THAT(end->message, HasSubstr(absl::StrCat("trainer ended with exit code ", code)));
      EXPECT_THAT(end->message, HasSubstr("| said"));
    }
  }
}

TEST_F(SupervisorTest, RestartsAKilledTrainerUntilTheRunIsEnding) {
  Supervisor& supervisor = Make({});
  ASSERT_OK(supervisor.Start(
      Script(Role::kTrainer, "trainer", "echo attempt $1; if [ $1 = 2 ]; then exec sleep 1000; fi; kill -9 $$")));
  const std::string log = dir_ + "/trainer.log";
  EXPECT_EQ(PollUntil([&] { return LastLines(log, 9).size() == 2; }), std::nullopt);
  EXPECT_THAT(LastLines(log, 9), ElementsAre("attempt 1", "attempt 2"));
  supervisor.StopRestarting();
  supervisor.SignalTrainer(SIGKILL);
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitSignalBase + SIGKILL);
}

TEST_F(SupervisorTest, RestartsADeadWorkerWithTheNextAttempt) {
  Supervisor& supervisor = Make({});
  ASSERT_OK(supervisor.Start(Worker("echo attempt $1; if [ $1 = 3 ]; then exec sleep 1000; fi; kill -9 $$")));
  const std::string log = dir_ + "/worker.log";
  EXPECT_EQ(PollUntil([&] { return LastLines(log, 9).size() == 3; }), std::nullopt);
  EXPECT_THAT(LastLines(log, 9), ElementsAre("attempt 1", "attempt 2", "attempt 3"));
  ASSERT_GE(notes_.size(), 2u);
  EXPECT_THAT(notes_[0], HasSubstr("worker ended with signal 9 (Killed)"));
  EXPECT_THAT(notes_[1], HasSubstr("starting worker again (restart 1 of 10)"));
}

TEST_F(SupervisorTest, WaitsBeforeARestart) {
  Supervisor& supervisor = Make({});
  ASSERT_OK(supervisor.Start(Worker("echo attempt $1; exit 1")));
  const std::string log = dir_ + "/worker.log";
  for (int i = 0; i < 4000 && notes_.empty(); ++i) {
    ASSERT_EQ(supervisor.Poll(), std::nullopt);
    absl::SleepFor(absl::Milliseconds(5));
  }
  // The clock stands still.
  for (int i = 0; i < 20; ++i) ASSERT_EQ(supervisor.Poll(), std::nullopt);
  EXPECT_THAT(LastLines(log, 9), ElementsAre("attempt 1"));
}

TEST_F(SupervisorTest, GivesUpWhenARolesRestartsAreUsedUp) {
  Supervisor& supervisor = Make({.max_restarts_per_role = 2});
  ASSERT_OK(supervisor.Start(Worker("echo attempt $1; exit 9")));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitRunFailed);
  EXPECT_THAT(end->message,
              HasSubstr("worker ended with exit code 9, and the 2 restarts of role rollout_worker are used up"));
  EXPECT_THAT(end->message, HasSubstr("| attempt 3"));
}

TEST_F(SupervisorTest, DoesNotRestartWhatARestartCannotMend) {
  for (const int code : {kExitUsage, kExitData, kExitNoInput, kExitNotAllowed, kExitConfig}) {
    Supervisor& supervisor = Make({});
    ASSERT_OK(supervisor.Start(Worker(absl::StrCat("echo unknown key; exit ", code))));
    const std::optional<RunEnd> end = PollToEnd();
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, code);
    EXPECT_THAT(end->message, HasSubstr("| unknown key"));
  }
}

TEST_F(SupervisorTest, ServerThatNeverServedEndsTheRunWithItsCode) {
  Supervisor& supervisor = Make({});
  PlannedProcess server = Script(Role::kRewardServer, "reward-0", "echo port 5005 is taken; exit 73");
  server.endpoint_path = dir_ + "/reward-0.json";
  ASSERT_OK(supervisor.Start(server));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitCannotCreate);
  EXPECT_THAT(end->message, HasSubstr("| port 5005 is taken"));
}

TEST_F(SupervisorTest, ServerIsRestartedWhereItServed) {
  Supervisor& supervisor = Make({});
  // The first attempt ends once its address was noticed.
  const std::string go = dir_ + "/go";
  ::unlink(go.c_str());
  PlannedProcess server = Server(Role::kRewardServer, "reward-0",
                                 absl::StrCat("echo \"to serve at $2\"; if [ $1 = 2 ]; then exec sleep 1000; fi; ",
                                              "while [ ! -e ", go, " ]; do sleep 0.01; done; kill -9 $$"));
  server.port = 5;
  ASSERT_OK(supervisor.Start(server));
  EXPECT_EQ(supervisor.Address("reward-0"), std::nullopt);
  ASSERT_EQ(PollUntil([&] { return supervisor.Address("reward-0").has_value(); }), std::nullopt);
  EXPECT_EQ(supervisor.Address("reward-0"), "127.0.0.1:77");
  ASSERT_OK(WriteFileSynced(go, ""));
  const std::string log = dir_ + "/reward-0.log";
  ASSERT_EQ(PollUntil([&] { return LastLines(log, 9).size() == 2; }), std::nullopt);
  EXPECT_THAT(LastLines(log, 9), ElementsAre("to serve at 5", "to serve at 77"));
}

TEST_F(SupervisorTest, OthersAreToldWhereTheTrainerServes) {
  Supervisor& supervisor = Make({});
  ASSERT_OK(supervisor.Start(Server(Role::kTrainer, "trainer", "while :; do sleep 0.02; done")));
  ASSERT_EQ(PollUntil([&] { return supervisor.Address("trainer").has_value(); }), std::nullopt);
  PlannedProcess worker = Worker("echo told $3; exec sleep 1000");
  worker.argv.push_back({"", Late::kTrainerAddress});
  ASSERT_OK(supervisor.Start(worker));
  const std::string log = dir_ + "/worker.log";
  ASSERT_EQ(PollUntil([&] { return !LastLines(log, 9).empty(); }), std::nullopt);
  EXPECT_THAT(LastLines(log, 9), ElementsAre("told 127.0.0.1:77"));
}

TEST_F(SupervisorTest, IgnoresAnEndpointThatAnEarlierRunLeft) {
  Supervisor& supervisor = Make({});
  PlannedProcess server = Script(Role::kTrainer, "trainer", "exec sleep 1000");
  server.endpoint_path = dir_ + "/trainer.json";
  ASSERT_OK(WriteFileAtomically(server.endpoint_path, "{\"address\":\"127.0.0.1:1\"}"));
  ASSERT_OK(supervisor.Start(server));
  ASSERT_EQ(supervisor.Poll(), std::nullopt);
  EXPECT_EQ(supervisor.Address("trainer"), std::nullopt);
}

TEST_F(SupervisorTest, StopAllEndsChildrenThatIgnoreSigterm) {
  Supervisor supervisor({}, Clock::Real(), [](const std::string&) {});
  ASSERT_OK(supervisor.Start(Worker("trap '' TERM; echo ready; while :; do sleep 0.05; done")));
  while (LastLines(dir_ + "/worker.log", 1).empty()) absl::SleepFor(absl::Milliseconds(5));
  const absl::Duration start = Clock::Real().Now();
  supervisor.StopAll(absl::Milliseconds(100));
  EXPECT_LT(Clock::Real().Now() - start, absl::Seconds(10));
  EXPECT_EQ(supervisor.Poll(), std::nullopt);
}

// A trainer of two ranks; $START names rank and start.
std::vector<PlannedProcess> Ranks(PlannedProcess rank_0, PlannedProcess rank_1) {
  for (PlannedProcess* rank : {&rank_0, &rank_1})
    rank->environment = {{absl::StrCat("START=", rank->name, " "), Late::kAttempt}};
  return {rank_0, rank_1};
}

// Shell: waits until the other has said something.
std::string Await(const std::string& log_path) {
  return absl::StrCat("while [ ! -s ", log_path, " ]; do sleep 0.01; done; ");
}

TEST_F(SupervisorTest, AGroupIsRestartedTogetherWhenOneIsKilledAndCountsOnce) {
  Supervisor& supervisor = Make({.max_restarts_per_role = 1});
  const std::string log_0 = dir_ + "/trainer.log", log_1 = dir_ + "/trainer-1.log";
  const auto ranks =
      Ranks(Script(Role::kTrainer, "trainer", "echo $START; exec sleep 1000"),
            Script(Role::kTrainerRank, "trainer-1",
                   absl::StrCat("echo $START; if [ $1 = 2 ]; then exec sleep 1000; fi; ", Await(log_0), "kill -9 $$")));
  for (const PlannedProcess& rank : ranks) ASSERT_OK(supervisor.Start(rank));
  const auto both = [&] { return LastLines(log_0, 9).size() == 2 && LastLines(log_1, 9).size() == 2; };
  EXPECT_EQ(PollUntil(both), std::nullopt);
  EXPECT_THAT(LastLines(log_0, 9), ElementsAre("trainer 1", "trainer 2"));
  EXPECT_THAT(LastLines(log_1, 9), ElementsAre("trainer-1 1", "trainer-1 2"));
}

TEST_F(SupervisorTest, TheRanksOfOneStartMeetAtOnePortWhichNobodyElseIsTold) {
  Supervisor& supervisor = Make({});
  const std::string log_0 = dir_ + "/trainer.log", log_1 = dir_ + "/trainer-1.log";
  auto ranks = Ranks(Script(Role::kTrainer, "trainer", "echo $MASTER_PORT; exec sleep 1000"),
                     Script(Role::kTrainerRank, "trainer-1", "echo $MASTER_PORT; exec sleep 1000"));
  for (PlannedProcess& rank : ranks) {
    rank.environment.push_back({"MASTER_PORT=", Late::kRendezvousPort});
    ASSERT_OK(supervisor.Start(rank));
  }
  ASSERT_EQ(PollUntil([&] { return !LastLines(log_0, 9).empty() && !LastLines(log_1, 9).empty(); }), std::nullopt);
  EXPECT_EQ(LastLines(log_0, 9), LastLines(log_1, 9));
  EXPECT_GT(std::stoi(LastLines(log_0, 1).at(0)), 0);
}

TEST_F(SupervisorTest, ARankThatLostAnotherStartsAgainWithIt) {
  Supervisor& supervisor = Make({});
  const std::string log_1 = dir_ + "/trainer-1.log";
  const auto ranks =
      Ranks(Script(Role::kTrainer, "trainer",
                   absl::StrCat("if [ $1 = 2 ]; then exec sleep 1000; fi; ", Await(log_1), "exit ", kExitUnavailable)),
            Script(Role::kTrainerRank, "trainer-1", "echo $START; exec sleep 1000"));
  for (const PlannedProcess& rank : ranks) ASSERT_OK(supervisor.Start(rank));
  EXPECT_EQ(PollUntil([&] { return LastLines(log_1, 9).size() == 2; }), std::nullopt);
}

TEST_F(SupervisorTest, ARankThatEndsByItselfEndsTheRunWithItsCode) {
  Supervisor& supervisor = Make({});
  const auto ranks = Ranks(Script(Role::kTrainer, "trainer", "exec sleep 1000"),
                           Script(Role::kTrainerRank, "trainer-1", "echo out of luck; exit 70"));
  for (const PlannedProcess& rank : ranks) ASSERT_OK(supervisor.Start(rank));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, kExitInternal);
  EXPECT_THAT(end->message, HasSubstr("trainer-1 ended with exit code 70"));
  EXPECT_THAT(end->message, HasSubstr("| out of luck"));
}

TEST_F(SupervisorTest, ARankThatIsLetGoIsNotStartedAgain) {
  Supervisor& supervisor = Make({});
  const std::string go = dir_ + "/go";
  ::unlink(go.c_str());
  const auto ranks =
      Ranks(Script(Role::kTrainer, "trainer", absl::StrCat("while [ ! -e ", go, " ]; do sleep 0.01; done; exit 0")),
            Script(Role::kTrainerRank, "trainer-1", "echo $START; exit 0"));
  for (const PlannedProcess& rank : ranks) ASSERT_OK(supervisor.Start(rank));
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(supervisor.Poll(), std::nullopt);
    clock_.Advance(absl::Seconds(1));
    absl::SleepFor(absl::Milliseconds(5));
  }
  ASSERT_OK(WriteFileSynced(go, ""));
  const std::optional<RunEnd> end = PollToEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 0);
  EXPECT_THAT(LastLines(dir_ + "/trainer-1.log", 9), ElementsAre("trainer-1 1"));
}

// --- The table of Supervisor::Stop: where the trainer is when a stop comes, and how the run ends ---

struct StopCase {
  std::string name;
  // What a trainer does that serves first; empty for none.
  std::string script;
  // The stop comes when it has served, or when it has ended and waits for its restart.
  bool waits_for_restart;
  absl::Duration bound;
  int exit_code;
  // The last note.
  std::string said;
};

// A trainer that does what it can about SIGTERM.
constexpr char kForEver[] = "while :; do sleep 0.02; done";

TEST_F(SupervisorTest, StoppingAlwaysEnds) {
  const absl::Duration never = absl::Hours(1000);
  const std::string die = dir_ + "/die";
  const std::vector<StopCase> cases = {
      {"saves", kForEver, false, never, kExitRetry, ""},
      {"fails_to_save", absl::StrCat("trap 'exit 1' TERM; ", kForEver), false, never, kExitRunFailed, ""},
      {"not_started", "", false, never, kExitRetry, "before the trainer was started"},
      {"waits_for_restart", absl::StrCat("while [ ! -e ", die, " ]; do sleep 0.01; done; kill -9 $$"), true, never,
       kExitRetry, "waited to be started again"},
      {"killed_while_saving", absl::StrCat("trap 'kill -9 $$' TERM; ", kForEver), false, never, kExitRetry,
       "signal 9 (Killed) instead of saving"},
      // A signal that comes before the handler is there.
      {"no_handler_yet", absl::StrCat("trap - TERM; ", kForEver), false, never, kExitRetry,
       "signal 15 (Terminated) instead of saving"},
      {"deaf", absl::StrCat("trap '' TERM; ", kForEver), false, absl::Minutes(1), kExitRetry,
       "did not end within 60 s of the stop and is killed"},
      {"stopped", "kill -STOP $$", false, absl::Minutes(1), kExitRetry, "is killed"},
  };
  for (const StopCase& test_case : cases) {
    SCOPED_TRACE(test_case.name);
    notes_.clear();
    ::unlink(die.c_str());
    Supervisor& supervisor = Make({});
    const std::string log_name = absl::StrCat("trainer-", test_case.name);
    if (!test_case.script.empty()) {
      PlannedProcess trainer = Server(Role::kTrainer, log_name, test_case.script);
      ASSERT_OK(supervisor.Start(trainer));
      // Not by PollUntil, whose clock runs: the restart is to be waited for.
      for (int i = 0; i < 4000; ++i) {
        ASSERT_EQ(supervisor.Poll(), std::nullopt);
        if (supervisor.Address(log_name).has_value()) ASSERT_OK(WriteFileSynced(die, ""));
        if (test_case.waits_for_restart ? !supervisor.TrainerPid(/*serving=*/false).has_value()
                                        : supervisor.TrainerPid(/*serving=*/true).has_value())
          break;
        absl::SleepFor(absl::Milliseconds(5));
      }
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
  const auto ranks = Ranks(Server(Role::kTrainer, "trainer", absl::StrCat("trap 'exit 69' TERM; ", kForEver)),
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

TEST(DescribeExitTest, NamesSignals) {
  EXPECT_EQ(DescribeExit(78), "exit code 78");
  EXPECT_EQ(DescribeExit(137), "signal 9 (Killed)");
}

}  // namespace
}  // namespace grpo
