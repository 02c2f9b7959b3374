#include "tools/launch/run_plan.h"

#include <cstdlib>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

PlanRequest Request(std::vector<std::string> hosts = {}) {
  return {.run_dir = "/runs/quickstart",
          .run_id = "quickstart-01234567",
          .programs = {.reward_server = "/bin/reward_server",
                       .trainer = "/bin/trainer",
                       .rollout_worker = "/bin/rollout_worker"},
          .hosts = std::move(hosts)};
}

// Four ranks, three workers and two reward servers that two machines can share.
RunConfig TwoHostConfig() {
  RunConfig config;
  config.trainer.ranks = 4;
  config.rewards["rules"];
  config.rollout_worker.workers = 3;
  config.reward_server.servers = 2;
  config.reward_server.port = 7100;
  config.reward_server.metrics_port = 9100;
  config.network.host = "0.0.0.0";
  config.network.trainer_port = 7000;
  config.network.rendezvous_port = 7001;
  config.network.private_interface = "eth1";
  config.network.token_file = "/secrets/token";
  config.network.tls_cert = "/secrets/cert.pem";
  config.network.tls_key = "/secrets/key.pem";
  return config;
}

std::vector<std::string> NamesOn(const RunPlan& plan, const std::string& host) {
  std::vector<std::string> names;
  for (const PlannedProcess& process : plan.processes) {
    if (process.host == host) names.push_back(process.name);
  }
  return names;
}

const PlannedProcess& Find(const RunPlan& plan, const std::string& name) {
  for (const PlannedProcess& process : plan.processes) {
    if (process.name == name) return process;
  }
  ADD_FAILURE() << "there is no " << name;
  static const PlannedProcess nothing;
  return nothing;
}

// Compares with testdata/NAME, or writes it: GRPO_WRITE_PLANS=$PWD/tools/launch/testdata
// bazel-bin/tools/launch/run_plan_test.
void ExpectGolden(const RunPlan& plan, const std::string& name) {
  // Where this test finds the ready configurations is no part of a plan.
  const std::string text =
      absl::StrReplaceAll(PlanJson(plan), {{std::filesystem::absolute("configs").string(), "CONFIGS"}});
  if (const char* folder = ::getenv("GRPO_WRITE_PLANS"); folder != nullptr) {
    ASSERT_OK(WriteFileSynced(absl::StrCat(folder, "/", name), text));
  }
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile("tools/launch/testdata/" + name));
  EXPECT_EQ(text, golden) << "if this is as it should be, write it anew: GRPO_WRITE_PLANS=$PWD/tools/launch/testdata "
                             "bazel-bin/tools/launch/run_plan_test";
}

TEST(RunPlan, OfTheQuickstartOnThisMachine) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig config, LoadRunConfig("configs/quickstart.yaml"));
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config.config, Request()));
  ExpectGolden(plan, "quickstart.json");
}

TEST(RunPlan, OfTwoHosts) {
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(TwoHostConfig(), Request({"node-a", "node-b"})));
  EXPECT_THAT(NamesOn(plan, "node-a"), ElementsAre("trainer", "trainer-1", "reward-0", "rollout-0", "rollout-2"));
  EXPECT_THAT(NamesOn(plan, "node-b"), ElementsAre("trainer-2", "trainer-3", "reward-1", "rollout-1"));
  ExpectGolden(plan, "two_hosts.json");
}

TEST(RunPlan, RewardServersAndWorkersNeedRankZeroAndKnowNobodyElse) {
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(TwoHostConfig(), Request({"node-a", "node-b"})));
  for (const PlannedProcess& process : plan.processes) {
    const std::string command = absl::StrJoin(Fill(process.argv, {.trainer_address = "?"}), " ");
    const bool is_rank = process.role == Role::kTrainer || process.role == Role::kTrainerRank;
    if (is_rank) {
      EXPECT_THAT(process.after, IsEmpty()) << process.name;
    } else {
      EXPECT_THAT(process.after, ElementsAre("trainer")) << process.name;
      EXPECT_THAT(command, HasSubstr("--coordinator node-a:7000")) << process.name;
    }
    EXPECT_THAT(command, AllOf(Not(HasSubstr("--reward")), Not(HasSubstr("--with-parent")), Not(HasSubstr("?"))))
        << "nothing is known late but attempts: " << process.name;
  }
  EXPECT_THAT(Fill(Find(plan, "reward-1").argv, {.port = 7101}),
              AllOf(Contains("node-b"), Contains("7101"), Contains("9101")));
}

TEST(RunPlan, RanksOfOneHostCountTheirDevicesFromZero) {
  RunConfig config = TwoHostConfig();
  config.trainer.ranks = 3;
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, Request({"node-a", "node-b"})));
  const std::map<std::string, std::vector<std::string>> expected = {
      {"trainer", {"RANK=0", "LOCAL_RANK=0", "node-a"}},
      {"trainer-1", {"RANK=1", "LOCAL_RANK=1", "node-a"}},
      {"trainer-2", {"RANK=2", "LOCAL_RANK=0", "node-b"}}};
  for (const auto& [name, place] : expected) {
    const PlannedProcess& process = Find(plan, name);
    const std::vector<std::string> environment = Fill(process.environment, {.attempt = 3});
    EXPECT_THAT(environment,
                AllOf(Contains(place[0]), Contains(place[1]), Contains("WORLD_SIZE=3"), Contains("MASTER_ADDR=node-a"),
                      Contains("MASTER_PORT=7001"), Contains("TORCHELASTIC_RESTART_COUNT=2")));
    EXPECT_EQ(process.host, place[2]);
  }
}

TEST(RunPlan, RanksAndWorkersShareOutTheGpusOfThisMachine) {
  RunConfig config = TwoHostConfig();
  config.trainer.ranks = 2;
  PlanRequest request = Request();
  request.gpus = {"4", "5", "6", "7"};
  const auto gpus_of_workers = [&] {
    const absl::StatusOr<RunPlan> plan = MakeRunPlan(config, request);
    EXPECT_OK(plan);
    std::vector<std::string> gpus;
    for (const char* name : {"rollout-0", "rollout-1", "rollout-2"})
      gpus.push_back(absl::StrJoin(Fill(Find(*plan, name).environment, {}), " "));
    return gpus;
  };
  // The ranks see all and take the first two by LOCAL_RANK.
  EXPECT_THAT(gpus_of_workers(),
              ElementsAre("CUDA_VISIBLE_DEVICES=6 LOCAL_RANK=0", "CUDA_VISIBLE_DEVICES=7 LOCAL_RANK=0",
                          "CUDA_VISIBLE_DEVICES=6 LOCAL_RANK=0"));
  config.trainer.device = "cpu";
  EXPECT_THAT(gpus_of_workers()[0], "CUDA_VISIBLE_DEVICES=4 LOCAL_RANK=0");
  config.rollout_worker.device = "cpu";
  EXPECT_THAT(gpus_of_workers()[0], "");
  config = TwoHostConfig();
  EXPECT_THAT(gpus_of_workers()[1], "CUDA_VISIBLE_DEVICES=5 LOCAL_RANK=0") << "four ranks leave none";
  request.gpus.clear();
  EXPECT_THAT(gpus_of_workers()[0], "");
}

TEST(RunPlan, AStarterThatShowsAllGpusOfAMachineLeavesEachWorkerTheNextBehindTheRanks) {
  RunConfig config = TwoHostConfig();
  config.launch.trainer.gpus_per_process = 1;
  PlanRequest request = Request({"node-a", "node-b"});
  request.starters["trainer"] = request.starters["rollout_worker"] = {.argv = {"srun"}};
  const auto of = [&](const std::string& name) {
    const absl::StatusOr<RunPlan> plan = MakeRunPlan(config, request);
    EXPECT_OK(plan);
    return absl::StrJoin(Fill(Find(*plan, name).environment, {}), " ");
  };
  EXPECT_EQ(of("rollout-0"), "") << "it has none";
  config.launch.rollout_worker.gpus_per_process = 1;
  // Two ranks on each host; rollout-0 and rollout-2 on the first.
  EXPECT_EQ(of("rollout-0"), "LOCAL_RANK=2");
  EXPECT_EQ(of("rollout-1"), "LOCAL_RANK=2");
  EXPECT_EQ(of("rollout-2"), "LOCAL_RANK=3");
  // Without a starter each process sees its own alone.
  request.starters["rollout_worker"] = {};
  EXPECT_EQ(of("rollout-2"), "");
}

TEST(RunPlan, EveryRankHearsThatAnotherDeviceIsAllowed) {
  PlanRequest request = Request({"node-a", "node-b"});
  request.resume = request.allow_other_device = true;
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(TwoHostConfig(), request));
  for (const char* name : {"trainer", "trainer-3"})
    EXPECT_THAT(Fill(Find(plan, name).argv, {}), AllOf(Contains("--resume"), Contains("--allow-other-device")));
  EXPECT_THAT(Fill(Find(plan, "rollout-0").argv, {}), Not(Contains("--allow-other-device")));
}

TEST(RunPlan, NobodyButTheTrainerNeedsTheRunFolder) {
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(TwoHostConfig(), Request({"node-a", "node-b"})));
  EXPECT_THAT(plan.shared,
              ElementsAre("/runs/quickstart/config.yaml", "/bin/trainer", "/bin/reward_server", "/bin/rollout_worker",
                          "/secrets/token", "/secrets/cert.pem", "/secrets/key.pem"));
  for (const PlannedProcess& process : plan.processes) {
    const bool leads = process.role == Role::kTrainer;
    EXPECT_EQ(absl::StrJoin(process.keeps, ","), leads ? "/runs/quickstart" : "") << process.name;
    EXPECT_EQ(process.endpoint_path.empty(), !leads) << "it would be written where nobody looks: " << process.name;
    for (const std::string& word : Fill(process.argv, {})) {
      if (process.role == Role::kTrainer || process.role == Role::kTrainerRank) continue;
      EXPECT_THAT(word, AnyOf(Not(HasSubstr("/runs/quickstart")), "/runs/quickstart/config.yaml")) << process.name;
    }
  }
}

TEST(RunPlan, SaysWhoNeedsASharedFileSystemAndForWhat) {
  RunConfig config = TwoHostConfig();
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, Request({"node-a", "node-b"})));
  EXPECT_THAT(FileSystemText(plan),
              AllOf(HasSubstr("Shared file system: trainer for /runs/quickstart (checkpoints"),
                    HasSubstr("\nNo shared file system: trainer-1 to trainer-3, reward-0 to reward-1, rollout-0 to "
                              "rollout-2; on each machine a copy of /runs/quickstart/config.yaml, /bin/trainer")));
  // What endpoints have answered is not to be paid for twice.
  config.policies["teacher"].endpoint.url = "https://teacher/v1";
  ASSERT_OK_AND_ASSIGN(const RunPlan asking, MakeRunPlan(config, Request({"node-a", "node-b"})));
  EXPECT_THAT(FileSystemText(asking),
              AllOf(HasSubstr("\nShared file system: rollout-0 to rollout-2 for /runs/quickstart/answers ("),
                    HasSubstr("\nNo shared file system: trainer-1 to trainer-3, reward-0 to reward-1; ")));
}

TEST(RunPlan, MoreHostsThanRanksLeaveTheLastOnesToWorkers) {
  RunConfig config = TwoHostConfig();
  config.trainer.ranks = 1;
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, Request({"a", "b", "c"})));
  EXPECT_THAT(NamesOn(plan, "a"), ElementsAre("trainer", "reward-0", "rollout-0"));
  EXPECT_THAT(NamesOn(plan, "c"), ElementsAre("rollout-2"));
}

TEST(RunPlan, WithoutRewardsNothingSamples) {
  RunConfig config;
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, Request()));
  EXPECT_THAT(NamesOn(plan, "127.0.0.1"), ElementsAre("trainer"));
}

TEST(RunPlan, OnThisMachineAddressesAreFoundLate) {
  RunConfig config;
  config.rewards["rules"];
  config.trainer.ranks = 2;
  PlanRequest request = Request();
  request.resume = true;
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, request));
  const LateValues late = {
      .attempt = 2, .port = 41, .trainer_address = "127.0.0.1:99", .rendezvous_port = 55, .lock_fd = 9};
  EXPECT_THAT(Fill(Find(plan, "trainer").argv, late), AllOf(Contains("41"), Contains("--resume"), Contains("9")));
  EXPECT_THAT(Fill(Find(plan, "trainer-1").argv, late), ::testing::Not(Contains("--lock-fd")));
  EXPECT_THAT(Fill(Find(plan, "trainer-1").environment, late),
              AllOf(Contains("MASTER_PORT=55"), Contains("TORCHELASTIC_RESTART_COUNT=1")));
  EXPECT_THAT(Fill(Find(plan, "rollout-0").argv, late), AllOf(Contains("127.0.0.1:99"), Contains("2")));
  for (const PlannedProcess& process : plan.processes) {
    EXPECT_EQ(process.host, "127.0.0.1");
    EXPECT_THAT(Fill(process.argv, late), Contains("--with-parent"));
  }
}

// What other machines reach is encrypted without anybody asking, and each process proves its own role.
TEST(RunPlan, OffLoopbackEveryProcessThatServesOrCallsIsToldOfTheRunsCertificates) {
  RunConfig config = TwoHostConfig();
  config.network.token_file = config.network.tls_cert = config.network.tls_key = "";
  for (const std::string tls_dir : {"", "/mounted/tls"}) {
    PlanRequest request = Request({"node-a", "node-b"});
    request.tls_dir = tls_dir;
    ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, request));
    for (const PlannedProcess& process : plan.processes) {
      const std::string command = absl::StrJoin(Fill(process.argv, {}), " ");
      const std::string flag = absl::StrCat("--tls-dir ", tls_dir.empty() ? "/runs/quickstart/tls" : tls_dir);
      if (process.role == Role::kTrainerRank) {
        EXPECT_THAT(command, Not(HasSubstr("--tls-dir"))) << process.name;
      } else {
        EXPECT_THAT(command, HasSubstr(flag)) << process.name;
      }
    }
    EXPECT_THAT(plan.shared, Contains(tls_dir.empty() ? "/runs/quickstart/tls" : tls_dir));
  }
  // With files of one's own, or on loopback: none.
  for (const RunConfig& other : {TwoHostConfig(), RunConfig()}) {
    ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(other, Request()));
    for (const PlannedProcess& process : plan.processes)
      EXPECT_THAT(Fill(process.argv, {}), Not(Contains("--tls-dir"))) << process.name;
  }
}

// As Slurm's batch step executes it: machines by their names for srun, ports found late, at addresses of their own.
TEST(RunPlan, StartersStandBeforeTheCommandsOfTheirRole) {
  RunConfig config;
  config.trainer.ranks = 2;
  config.rewards["rules"];
  config.rollout_worker.workers = 2;
  PlanRequest request = Request({"n1", "n2", "n3"});
  request.addresses = {"127.0.0.1", "127.0.0.1", "127.0.0.1"};
  request.starters["trainer"] = {.argv = {"/usr/bin/srun", "-w{host}", "-J{name}"}, .stop_signal = SIGINT};
  request.starters["rollout_worker"] = {.argv = {"/usr/bin/srun", "--mem=1", "{host}"}};
  request.places = {{"trainer", {.per_host = 1}}, {"rollout_worker", {.first = 2, .per_host = 1}}};
  ASSERT_OK_AND_ASSIGN(const RunPlan plan, MakeRunPlan(config, request));
  EXPECT_EQ(Find(plan, "rollout-0").host, "n3");
  EXPECT_THAT(Find(plan, "trainer-1").starter.argv, ElementsAre("/usr/bin/srun", "-wn2", "-Jtrainer-1"));
  EXPECT_EQ(Find(plan, "trainer-1").starter.stop_signal, SIGINT);
  EXPECT_THAT(Find(plan, "rollout-1").starter.argv, ElementsAre("/usr/bin/srun", "--mem=1", "n1"));
  EXPECT_THAT(Find(plan, "reward-0").starter.argv, IsEmpty());
  const LateValues late = {.port = 41, .trainer_address = "127.0.0.1:99", .rendezvous_port = 55};
  EXPECT_THAT(Fill(Find(plan, "rollout-1").argv, late), Contains("127.0.0.1:99"));
  EXPECT_THAT(Fill(Find(plan, "trainer-1").environment, late),
              AllOf(Contains("MASTER_ADDR=127.0.0.1"), Contains("MASTER_PORT=55"), Contains("LOCAL_RANK=0")));
  EXPECT_THAT(Fill(Find(plan, "trainer").argv, late),
              AllOf(Contains("--advertise-host"), Contains("127.0.0.1"), Not(Contains("--lock-fd")),
                    Not(Contains("--with-parent"))));
  // Addresses that differ are machines that differ.
  request.addresses = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
  EXPECT_STATUS(MakeRunPlan(config, request), absl::StatusCode::kInvalidArgument, "network.host");
  request.addresses.pop_back();
  EXPECT_STATUS(MakeRunPlan(config, request), absl::StatusCode::kInvalidArgument, "3 hosts and 2 addresses");
  config.rollout_worker.workers = 3;
  request = Request({"n1", "n2"});
  request.starters["trainer"];
  request.addresses = {"127.0.0.1", "127.0.0.1"};
  request.places = {{"rollout_worker", {.first = 1, .per_host = 1}}};
  EXPECT_STATUS(MakeRunPlan(config, request), absl::StatusCode::kInvalidArgument, "launch.rollout_worker");
}

TEST(RunPlan, SaysWhatSeveralHostsNeed) {
  RunConfig config;
  config.trainer.ranks = 2;
  const auto plan = MakeRunPlan(config, Request({"node-a", "node-b", "node-b"}));
  for (const char* key : {"network.trainer_port", "network.rendezvous_port", "network.host",
                          "network.private_interface", "not all different"})
    EXPECT_STATUS(plan, absl::StatusCode::kInvalidArgument, key);
  // Ranks of one machine need no network of their own.
  config.network.host = "0.0.0.0";
  config.network.trainer_port = 7000;
  config.network.rendezvous_port = 7001;
  PlanRequest together = Request({"node-a", "node-b"});
  together.places = {{"trainer", {.per_host = 2}}};
  ASSERT_OK_AND_ASSIGN(const RunPlan shared, MakeRunPlan(config, together));
  EXPECT_THAT(Fill(Find(shared, "trainer-1").environment, {}), Contains("MASTER_ADDR=127.0.0.1"));
  // A machine of a launcher's, alone.
  config.network.host = "127.0.0.1";
  config.trainer.ranks = 1;
  EXPECT_OK(MakeRunPlan(config, Request({"node-a"})));
}

}  // namespace
}  // namespace grpo
