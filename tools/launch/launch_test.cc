#include "tools/launch/launch.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Launch, AsksForWhatTheConfigurationNeeds) {
  ASSERT_OK_AND_ASSIGN(LoadedConfig loaded, LoadRunConfig("configs/quickstart.yaml"));
  loaded.config.trainer.ranks = 2;
  loaded.config.launch.trainer = {.nodes = 2, .gpus_per_process = 1, .cpus_per_process = 3};
  loaded.config.launch.reward_server.memory_gib = 7;
  Preflight preflight(loaded.config);
  ASSERT_OK_AND_ASSIGN(const LaunchRequest request,
                       MakeLaunchRequest(loaded.config, preflight, {.run_dir = "/runs/q", .run_id = "q-1"}));
  EXPECT_EQ(request.trainer.nodes, 2);
  EXPECT_EQ(request.trainer.processes_per_node, 1);
  EXPECT_EQ(request.trainer.gpus, 1);
  EXPECT_GT(request.trainer.gpu_memory_gib, 1.5) << "CUDA itself takes as much";
  EXPECT_EQ(request.rollout_worker.gpu_memory_gib, 0) << "none is asked for it";
  EXPECT_EQ(request.trainer.cpus, 3);
  // The quickstart's model is small.
  EXPECT_GE(request.trainer.memory_gib, 1);
  EXPECT_LT(request.trainer.memory_gib, 4);
  EXPECT_EQ(request.reward_server.memory_gib, 7);
  EXPECT_GT(request.disk_gib, 0);
  const std::vector<LaunchFile> files = {{.name = "launch.sbatch", .content = ""}};
  EXPECT_THAT(LaunchText(request, "slurm", files),
              AllOf(HasSubstr("trainer"), HasSubstr("7.0 GiB"), HasSubstr("launch.sbatch"), HasSubstr("127.0.0.1")));
  const nlohmann::json shown = nlohmann::json::parse(LaunchJson(request, "slurm", files));
  EXPECT_EQ(shown["roles"]["trainer"]["nodes"], 2);
  EXPECT_EQ(shown["roles"]["reward_server"]["memory_gib"], 7);
  EXPECT_EQ(shown["files"][0], "launch.sbatch");
}

TEST(Launch, DevicesAndTheGpusThatAreAskedForMustFit) {
  ASSERT_OK_AND_ASSIGN(LoadedConfig loaded, LoadRunConfig("configs/quickstart.yaml"));
  const auto error_of = [&] {
    Preflight preflight(loaded.config);
    return MakeLaunchRequest(loaded.config, preflight, {.run_dir = "/runs/q", .run_id = "q-1"}).status();
  };
  loaded.config.trainer.device = "cuda";
  EXPECT_STATUS(error_of(), absl::StatusCode::kInvalidArgument,
                "launch.trainer.gpus_per_process is 0, but trainer.device is cuda: set it to 1");
  loaded.config.launch.trainer.gpus_per_process = 1;
  EXPECT_OK(error_of());
  loaded.config.launch.rollout_worker.gpus_per_process = 1;
  EXPECT_OK(error_of());
  loaded.config.rollout_worker.device = "cpu";
  EXPECT_STATUS(error_of(), absl::StatusCode::kInvalidArgument,
                "launch.rollout_worker.gpus_per_process is 1, but rollout_worker.device is cpu");
}

// Encrypted without anybody asking; who says where servers are to listen has said it.
TEST(Launch, OtherMachinesReachTheServersUnlessTheConfigurationSaysWhere) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/launch.yaml");
  const auto added = [&](const std::string& text, const std::vector<std::string>& overrides) {
    EXPECT_OK(WriteFileSynced(path, text));
    const auto all = WithLaunchDefaults(path, overrides);
    EXPECT_OK(all);
    return all.ok() && all->size() == overrides.size() + 1 ? all->back() : "";
  };
  EXPECT_EQ(added("run:\n  name: a\n", {"run.seed=1"}), "network.host=0.0.0.0");
  EXPECT_EQ(added("network:\n  trainer_port: 7000\n", {}), "network.host=0.0.0.0");
  EXPECT_EQ(added("network:\n  host: 127.0.0.1\n", {}), "");
  EXPECT_EQ(added("run:\n  name: a\n", {"network.host=10.0.0.1"}), "");
  EXPECT_STATUS(WithLaunchDefaults("/nowhere.yaml", {}), absl::StatusCode::kNotFound, "/nowhere.yaml");
}

TEST(Launch, NamesEachRoleWhoseNodesAreTooFew) {
  ASSERT_OK_AND_ASSIGN(LoadedConfig loaded, LoadRunConfig("configs/quickstart.yaml"));
  loaded.config.trainer.ranks = 3;
  loaded.config.rollout_worker.workers = 5;
  loaded.config.launch.trainer.processes_per_node = 2;
  loaded.config.launch.rollout_worker = {.nodes = 2, .processes_per_node = 2};
  Preflight preflight(loaded.config);
  const auto request = MakeLaunchRequest(loaded.config, preflight, {});
  EXPECT_STATUS(request, absl::StatusCode::kInvalidArgument, "launch.trainer");
  EXPECT_STATUS(request, absl::StatusCode::kInvalidArgument, "launch.rollout_worker");
}

TEST(Launch, FilesThatHoldASecretAreTheOwnersAlone) {
  const std::string folder = absl::StrCat(::testing::TempDir(), "/files");
  ASSERT_OK(
      WriteLaunchFiles({{.name = "plain", .content = "a"}, {.name = "secret", .content = "b", .mode = 0600}}, folder));
  struct stat status;
  ASSERT_EQ(::stat((folder + "/secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat((folder + "/plain").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
}

TEST(Launch, RemembersItsJob) {
  const std::string run_dir = absl::StrCat(::testing::TempDir(), "/run");
  EXPECT_FALSE(ReadJob(run_dir).has_value());
  EXPECT_OK(ExpectNoJob(run_dir));
  ASSERT_OK(MakeFolders(LaunchFolder(run_dir)));
  ASSERT_OK(
      WriteJob(run_dir, {.target = "slurm", .job = "42", .submitted_at = "2026-11-30T02:51:12Z", .run_id = "q-1"}));
  const std::optional<LaunchedJob> job = ReadJob(run_dir);
  ASSERT_TRUE(job.has_value());
  EXPECT_EQ(job->target, "slurm");
  EXPECT_EQ(job->job, "42");
  ASSERT_OK(WriteFileSynced(LaunchFolder(run_dir) + "/job.json", "{\"target\": 1}"));
  EXPECT_FALSE(ReadJob(run_dir).has_value());
}

TEST(Launch, OfAFolderWhoseJobMayRunIsRefusedWithItsName) {
  const std::string run_dir = absl::StrCat(::testing::TempDir(), "/live"),
                    bin = absl::StrCat(::testing::TempDir(), "/bin");
  ASSERT_OK(MakeFolders(LaunchFolder(run_dir)));
  ASSERT_OK(MakeFolders(bin));
  ASSERT_OK(
      WriteJob(run_dir, {.target = "slurm", .job = "42", .submitted_at = "2026-11-30T02:51:12Z", .run_id = "q-1"}));
  ::setenv("PATH", absl::StrCat(bin, ":/usr/bin:/bin").c_str(), 1);
  const auto scontrol_says = [&](const std::string& script) {
    ASSERT_OK(WriteFileSynced(bin + "/scontrol", "#!/bin/sh\n" + script + "\n"));
    ASSERT_EQ(::chmod((bin + "/scontrol").c_str(), 0755), 0);
  };
  scontrol_says("echo JobState=PENDING Reason=Priority");
  EXPECT_STATUS(ExpectNoJob(run_dir), absl::StatusCode::kAlreadyExists, "job 42 of slurm, run q-1");
  scontrol_says("echo no answer >&2; exit 1");
  EXPECT_STATUS(ExpectNoJob(run_dir), absl::StatusCode::kUnavailable, "whether that job still runs cannot be told");
  scontrol_says("echo JobState=FAILED");
  EXPECT_OK(ExpectNoJob(run_dir));
  scontrol_says("echo Invalid job id specified >&2; exit 1");
  EXPECT_OK(ExpectNoJob(run_dir));
}

}  // namespace
}  // namespace grpo
