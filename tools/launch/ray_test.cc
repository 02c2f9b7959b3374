// What Ray's driver is given; the driver's rules are targets/ray_supervisor_test.py's to show, and that it works
// tests/clusters/ray_test.py's.
#include <stdlib.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tools/launch/target.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RayTest : public ::testing::Test {
 protected:
  RayTest() {
    config_.run.name = "demo";
    config_.trainer.ranks = 4;
    config_.rewards["rules"];
    config_.rollout_worker.workers = 3;
    config_.launch.trainer.nodes = 2;
    config_.launch.rollout_worker.processes_per_node = 2;
    config_.launch.rollout_worker.nodes = 2;
    config_.launch.ray.address = "head:6379";
    config_.network.host = "0.0.0.0";
    config_.network.private_interface = "eth1";
    auto target = MakeLaunchTarget("ray");
    EXPECT_OK(target);
    ray_ = *std::move(target);
  }

  LaunchRequest Request() const {
    return {.config = config_,
            .run_dir = "/runs/demo",
            .run_id = "demo-01234567",
            .programs = {.reward_server = "/bin/reward_server",
                         .trainer = "/bin/trainer",
                         .rollout_worker = "/bin/rollout_worker"},
            .grpoctl = "/bin/grpoctl",
            .trainer = {.gpus = 1, .cpus = 4, .memory_gib = 2.5},
            .rollout_worker = {.cpus = 2, .memory_gib = 1},
            .reward_server = {.cpus = 1, .memory_gib = 1}};
  }

  // The content of a rendered file.
  std::string Rendered(const std::string& name) const {
    const auto files = ray_->Render(Request());
    EXPECT_OK(files);
    for (const LaunchFile& file : files.value_or(std::vector<LaunchFile>())) {
      if (file.name == name) return file.content;
    }
    ADD_FAILURE() << "there is no " << name;
    return "";
  }
  nlohmann::json RenderedJson(const std::string& name) const {
    return nlohmann::json::parse(Rendered(name), nullptr, /*allow_exceptions=*/false);
  }
  // Each rank's "RANK=... LOCAL_RANK=... on <host ...>".
  std::vector<std::string> RanksAndHosts() const {
    std::vector<std::string> places;
    const nlohmann::json plan = RenderedJson("plan.json");
    for (const nlohmann::json& process : plan["processes"]) {
      if (process["role"].get<std::string>() != "trainer") continue;
      places.push_back(absl::StrCat(process["environment"][0].get<std::string>(), " ",
                                    process["environment"][1].get<std::string>(), " on ",
                                    process["host"].get<std::string>()));
    }
    return places;
  }

  RunConfig config_;
  std::unique_ptr<LaunchTarget> ray_;
};

// Compares with testdata/NAME, or writes it: GRPO_WRITE_LAUNCH=$PWD/tools/launch/testdata
// bazel-bin/tools/launch/ray_test.
void ExpectGolden(const std::string& text, const std::string& name) {
  if (const char* folder = ::getenv("GRPO_WRITE_LAUNCH"); folder != nullptr) {
    ASSERT_OK(WriteFileSynced(absl::StrCat(folder, "/", name), text));
  }
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile("tools/launch/testdata/" + name));
  EXPECT_EQ(text, golden) << "if this is as it should be, write it anew: GRPO_WRITE_LAUNCH=$PWD/tools/launch/testdata "
                             "bazel-bin/tools/launch/ray_test";
}

TEST_F(RayTest, AsksForABundleForEachMachinesShareOfARole) {
  ExpectGolden(Rendered("ray.json"), "ray.json");
}

TEST_F(RayTest, ThePlanNamesMachinesByStandInsAndFindsPortsLate) {
  ExpectGolden(Rendered("plan.json"), "ray_plan.json");
}

TEST_F(RayTest, ShipsItsDriver) {
  EXPECT_THAT(Rendered("ray_driver.py"), HasSubstr("from ray_supervisor import"));
  EXPECT_THAT(Rendered("ray_supervisor.py"), HasSubstr("class Supervisor"));
}

TEST_F(RayTest, ARankWithAGpuOfItsOwnSeesOnlyThatOne) {
  EXPECT_THAT(RanksAndHosts(),
              ElementsAre("RANK=0 LOCAL_RANK=0 on <host trainer.0>", "RANK=1 LOCAL_RANK=0 on <host trainer.0>",
                          "RANK=2 LOCAL_RANK=0 on <host trainer.1>", "RANK=3 LOCAL_RANK=0 on <host trainer.1>"));
}

TEST_F(RayTest, RanksOnOneMachineMeetOnLoopback) {
  config_.launch.trainer.nodes = 1;
  config_.network.private_interface.clear();
  EXPECT_THAT(Rendered("plan.json"), HasSubstr("MASTER_ADDR=127.0.0.1"));
}

TEST_F(RayTest, EverythingGoesToOneMachineWhenItListensOnLoopback) {
  config_.network.host = "127.0.0.1";
  config_.launch.trainer.nodes = config_.launch.rollout_worker.nodes = 1;
  config_.launch.rollout_worker.processes_per_node = 0;
  EXPECT_EQ(RenderedJson("ray.json")["strategy"].get<std::string>(), "STRICT_PACK");
  EXPECT_THAT(Rendered("plan.json"), Not(HasSubstr("--advertise-host\",\n        \"<host")));
}

TEST_F(RayTest, NamesEveryKeyThatOneMachinesAddressesDoNotFit) {
  config_.network.host = "127.0.0.1";
  config_.launch.ray.strategy = "STRICT_SPREAD";
  const auto files = ray_->Render(Request());
  for (const char* key : {"launch.trainer.nodes is 2", "launch.rollout_worker.nodes is 2", "launch.ray.strategy"})
    EXPECT_STATUS(files, absl::StatusCode::kInvalidArgument, key);
}

TEST_F(RayTest, RanksOnSeveralMachinesNeedAPrivateNetwork) {
  config_.network.private_interface.clear();
  EXPECT_STATUS(ray_->Render(Request()), absl::StatusCode::kInvalidArgument, "network.private_interface");
}

TEST_F(RayTest, TheDriverReadsExitCodesAsClassifyExitDoes) {
  const nlohmann::json exits = RenderedJson("ray.json")["exits"];
  EXPECT_THAT(exits["alone"]["permanent"].get<std::string>(), HasSubstr("77-78"));
  EXPECT_EQ(exits["alone"]["success"].get<std::string>(), "0");
  EXPECT_FALSE(exits["alone"].contains("peer_lost"));
  EXPECT_EQ(exits["with_peers"]["peer_lost"].get<std::string>(), "69");
}

// A script called ray, first in PATH, that says what Ray's client was seen to say.
class RayClientTest : public RayTest {
 protected:
  void SetUp() override {
    const std::string folder = ::testing::TempDir() + "/client";
    ASSERT_OK(MakeFolders(folder));
    path_ = folder + "/ray";
    ::setenv("PATH", absl::StrCat(folder, ":/usr/bin:/bin").c_str(), /*overwrite=*/1);
  }
  // What `ray` answers from now on; its arguments go to `arguments`.
  void Answer(const std::string& answer) {
    ASSERT_OK(WriteFileSynced(
        path_, absl::StrCat("#!/bin/sh\necho \"$*\" > ", path_, ".arguments\ncat <<'END'\n", answer, "\nEND\n")));
    ASSERT_EQ(::chmod(path_.c_str(), 0755), 0);
  }
  std::string Arguments() const { return ReadFile(path_ + ".arguments").value_or(""); }

  std::string path_;
};

TEST_F(RayClientTest, SubmitsTheDriverAndNamesTheJobWithItsCluster) {
  const std::string folder = ::testing::TempDir() + "/launch";
  ASSERT_OK(MakeFolders(folder));
  ASSERT_OK(WriteFileSynced(folder + "/ray.json", Rendered("ray.json")));
  Answer("2026-11-30 INFO -- ---\nSUCC cli.py:67 -- Job 'raysubmit_x1' submitted successfully\n---");
  ASSERT_OK_AND_ASSIGN(const std::string job, ray_->Submit(folder));
  EXPECT_EQ(job, "raysubmit_x1@head:6379");
  EXPECT_THAT(Arguments(), HasSubstr(absl::StrCat("-- exec python3 ", folder, "/ray_driver.py")));
  EXPECT_THAT(Arguments(), HasSubstr("RAY_JOB_STOP_WAIT_TIME_S\":\"330\""));
}

TEST_F(RayClientTest, ReadsAJobsState) {
  Answer(R"([{"submission_id": "raysubmit_x1", "status": "FAILED", "message": "failed with exit code 78, last logs:\nx",
              "metadata": {"grpo_run_dir": "/runs/demo"}, "driver_exit_code": 78}])");
  ASSERT_OK_AND_ASSIGN(const JobState state, ray_->State("raysubmit_x1@head:6379"));
  EXPECT_EQ(state.word, "FAILED");
  EXPECT_TRUE(state.ended);
  EXPECT_EQ(state.reason, "failed with exit code 78, last logs:");
  EXPECT_EQ(state.run_dir, "/runs/demo");
  EXPECT_THAT(Arguments(), HasSubstr("--address head:6379 --filter submission_id=raysubmit_x1"));
  EXPECT_OK(ray_->Stop("raysubmit_x1@head:6379"));
  EXPECT_THAT(Arguments(), HasSubstr("list jobs")) << "a job that has ended needs no stop";
}

TEST_F(RayClientTest, AJobThatRunsIsStopped) {
  Answer(R"([{"status": "RUNNING", "message": "Job is currently running."}])");
  EXPECT_OK(ray_->Stop("raysubmit_x1"));
  EXPECT_EQ(Arguments(), "job stop --address auto --no-wait raysubmit_x1\n");
}

TEST_F(RayClientTest, AJobThatRayDoesNotKnowIsNotFound) {
  Answer("No resource in the cluster");
  EXPECT_STATUS(ray_->State("raysubmit_x2"), absl::StatusCode::kNotFound, "raysubmit_x2");
}

TEST_F(RayClientTest, WithoutAClientItSaysHowToGetOne) {
  ::setenv("PATH", "/nowhere", /*overwrite=*/1);
  EXPECT_STATUS(ray_->State("raysubmit_x1"), absl::StatusCode::kNotFound, "pip install 'ray[default]>=2.52'");
}

TEST_F(RayTest, HintsCanBePasted) {
  EXPECT_THAT(absl::StrJoin(ray_->Hints("raysubmit_x1@head:6379"), "\n"),
              HasSubstr("ray job logs --follow --address head:6379 raysubmit_x1"));
  EXPECT_THAT(absl::StrJoin(ray_->Hints("raysubmit_x1"), "\n"), Not(HasSubstr("--address")));
  EXPECT_THAT(ray_->Hints("raysubmit_x1"), Not(IsEmpty()));
}

}  // namespace
}  // namespace grpo
