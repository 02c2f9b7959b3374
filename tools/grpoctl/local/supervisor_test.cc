#include "tools/grpoctl/local/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/local/supervisor_testing.h"
#include "tools/grpoctl/records/log_tail.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
  supervisor.SignalAll(SIGKILL);
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
  EXPECT_LT(Clock::Real().Now() - start, absl::Minutes(1));
  EXPECT_EQ(supervisor.Poll(), std::nullopt);
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

TEST_F(SupervisorTest, OnlyRankZeroInheritsTheLockAlsoWhenItIsStartedAgain) {
  const int fd = ::open(dir_.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  Supervisor& supervisor = Make({.lock_fd = fd});
  const std::string say = absl::StrCat("if [ -e /proc/$$/fd/", fd, " ]; then echo inherited; else echo none; fi; ");
  const std::string log_0 = dir_ + "/trainer.log", log_1 = dir_ + "/trainer-1.log";
  const auto ranks =
      Ranks(Script(Role::kTrainer, "trainer", say + "exec sleep 1000"),
            Script(Role::kTrainerRank, "trainer-1",
                   absl::StrCat(say, "if [ $1 = 2 ]; then exec sleep 1000; fi; ", Await(log_0), "kill -9 $$")));
  for (const PlannedProcess& rank : ranks) ASSERT_OK(supervisor.Start(rank));
  const auto both = [&] { return LastLines(log_0, 9).size() == 2 && LastLines(log_1, 9).size() == 2; };
  EXPECT_EQ(PollUntil(both), std::nullopt);
  EXPECT_THAT(LastLines(log_0, 9), ElementsAre("inherited", "inherited"));
  EXPECT_THAT(LastLines(log_1, 9), ElementsAre("none", "none"));
  ::close(fd);
}

TEST(DescribeExitTest, NamesSignals) {
  EXPECT_EQ(DescribeExit(78), "exit code 78");
  EXPECT_EQ(DescribeExit(137), "signal 9 (Killed)");
}

}  // namespace
}  // namespace grpo
