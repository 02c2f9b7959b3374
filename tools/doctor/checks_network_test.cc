#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/doctor/machine_testing.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(NamesTest, ANameThatOthersCannotUseIsAWarningOnlyWhereOthersAreToCome) {
  FakeMachine machine;
  RunConfig config;
  EXPECT_EQ(Found(&CheckNames, {.machine = machine}), "ok: this machine is node7 (10.0.0.7)\n");
  machine.addresses["node7"] = {"127.0.1.1"};
  EXPECT_THAT(Found(&CheckNames, {.machine = machine, .config = &config}), StartsWith("ok"));
  config.network.host = "0.0.0.0";
  EXPECT_THAT(Found(&CheckNames, {.machine = machine, .config = &config}),
              AllOf(StartsWith("warning"), HasSubstr("advertise_host")));
  config.network.advertise_host = "node7.example";
  EXPECT_THAT(Found(&CheckNames, {.machine = machine, .config = &config}),
              HasSubstr("problem 78: network.advertise_host node7.example does not resolve"));
  machine.addresses["node7.example"] = {"10.0.0.7"};
  EXPECT_THAT(Found(&CheckNames, {.machine = machine, .config = &config}), StartsWith("ok"));
  machine.addresses.clear();
  EXPECT_THAT(Found(&CheckNames, {.machine = machine}), HasSubstr("/etc/hosts"));
}

TEST(PortsTest, OneThatIsTakenIsAProblemAndOneThatAnyConnectionTakesAWarning) {
  FakeMachine machine;
  machine.files["/proc/sys/net/ipv4/ip_local_port_range"] = "32768\t60999";
  RunConfig config;
  EXPECT_EQ(Found(&CheckPorts, {.machine = machine, .config = &config}), "ok: the configuration fixes none\n");
  config.network.trainer_port = 7000;
  config.network.rendezvous_port = 40000;
  machine.taken = {7000};
  EXPECT_THAT(Found(&CheckPorts, {.machine = machine, .config = &config}),
              AllOf(HasSubstr("problem 73: network.trainer_port 7000 at 127.0.0.1 is taken"),
                    HasSubstr("warning: network.rendezvous_port 40000"), HasSubstr("take one below 32768")));
  machine.taken.clear();
  machine.bind_status = absl::PermissionDeniedError("bind to 127.0.0.1:7000: Permission denied");
  EXPECT_THAT(Found(&CheckPorts, {.machine = machine, .config = &config}), HasSubstr("problem 77"));
}

TEST(PortsTest, EveryRewardServerHasItsOwn) {
  FakeMachine machine;
  RunConfig config;
  config.rewards["p"] = {};
  config.reward_server.servers = 2;
  config.reward_server.port = 7100;
  config.reward_server.metrics_port = 7200;
  machine.taken = {7101, 7201};
  EXPECT_THAT(Found(&CheckPorts, {.machine = machine, .config = &config}),
              AllOf(HasSubstr("reward_server.port 7101 at"), HasSubstr("reward_server.metrics_port 7201 at"),
                    HasSubstr("reward_server.port 7100 at 127.0.0.1 is free")));
}

TEST(ClockTest, OneThatNobodyKeepsIsAWarningAndOneOfThePastAProblem) {
  FakeMachine machine;
  EXPECT_EQ(Found(&CheckClock, {.machine = machine}), "ok: 2027-01-02 03:04:05 UTC, kept by a time server\n");
  machine.clock_is_kept = std::nullopt;
  EXPECT_EQ(Found(&CheckClock, {.machine = machine}), "ok: 2027-01-02 03:04:05 UTC\n");
  machine.clock_is_kept = false;
  EXPECT_THAT(Found(&CheckClock, {.machine = machine}), StartsWith("warning"));
  machine.now = absl::UnixEpoch();
  EXPECT_THAT(Found(&CheckClock, {.machine = machine}), StartsWith("problem 69"));
}

}  // namespace
}  // namespace grpo
