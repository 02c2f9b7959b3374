// What Slurm is given; that it works is tests/clusters/slurm_test.py's to show.
#include <stdlib.h>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SlurmTest : public ::testing::Test {
 protected:
  SlurmTest() {
    config_.run.name = "demo";
    config_.trainer.ranks = 2;
    config_.rewards["rules"];
    config_.rollout_worker.workers = 2;
    config_.reward_server.servers = 2;
    for (LaunchRoleOptions* role :
         {&config_.launch.trainer, &config_.launch.rollout_worker, &config_.launch.reward_server})
      role->nodes = 2;
    config_.network.host = "0.0.0.0";
    config_.network.private_interface = "eth1";
    config_.launch.slurm.partition = "gpu";
    config_.launch.slurm.sbatch = {"--mail-type=FAIL"};
  }

  LaunchRequest Request(const std::string& run_dir = "/runs/demo") {
    return {.config = config_,
            .run_dir = run_dir,
            .run_id = "demo-01234567",
            .programs = {},
            .grpoctl = "/opt/grpo/grpoctl",
            .trainer = {.nodes = 2, .gpus = 1, .cpus = 2, .memory_gib = 2},
            .rollout_worker = {.nodes = 2, .memory_gib = 1},
            .reward_server = {.nodes = 2, .memory_gib = 1}};
  }

  // The script and its starters.
  std::vector<LaunchFile> Render(const LaunchRequest& request) {
    const absl::StatusOr<std::unique_ptr<LaunchTarget>> slurm = MakeLaunchTarget("slurm");
    EXPECT_OK(slurm);
    const absl::StatusOr<std::vector<LaunchFile>> files = (*slurm)->Render(request);
    EXPECT_OK(files);
    EXPECT_EQ(files->size(), 2u);
    return *files;
  }

  RunConfig config_;
};

// Compares with testdata/NAME, or writes it: GRPO_WRITE_LAUNCH=$PWD/tools/launch/testdata
// bazel-bin/tools/launch/slurm_test.
void ExpectGolden(const std::string& text, const std::string& name) {
  if (const char* folder = ::getenv("GRPO_WRITE_LAUNCH"); folder != nullptr) {
    ASSERT_OK(WriteFileSynced(absl::StrCat(folder, "/", name), text));
  }
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile("tools/launch/testdata/" + name));
  EXPECT_EQ(text, golden) << "if this is as it should be, write it anew: GRPO_WRITE_LAUNCH=$PWD/tools/launch/testdata "
                             "bazel-bin/tools/launch/slurm_test";
}

TEST_F(SlurmTest, RendersOneScriptAndWhatStartsEachRole) {
  const std::vector<LaunchFile> files = Render(Request());
  EXPECT_EQ(files[0].name, "launch.sbatch");
  EXPECT_EQ(files[1].name, "starters.json");
  ExpectGolden(files[0].content, "slurm.sbatch");
  ExpectGolden(files[1].content, "slurm_starters.json");
}

TEST_F(SlurmTest, BashReadsTheScriptWhateverTheFolderIsCalled) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/script");
  for (const std::string run_dir : {"/runs/demo", "/my runs/it's $(date) \"100%\" \\o/"}) {
    const std::string script = Render(Request(run_dir))[0].content;
    ASSERT_OK(WriteFileSynced(path, script));
    EXPECT_EQ(::system(absl::StrCat("bash -n '", path, "'").c_str()), 0) << script;
  }
  const std::string script = Render(Request("/a b/it's 100% \"x\""))[0].content;
  EXPECT_THAT(script, AllOf(HasSubstr(R"(#SBATCH --chdir="/a b/it's 100% \"x\"")"),
                            HasSubstr(R"(#SBATCH --output="/a b/it's 100%% \"x\"/logs/slurm-%j.log")"),
                            HasSubstr(R"(--run-dir '/a b/it'\''s 100% "x"')")));
}

TEST_F(SlurmTest, AHeterogeneousJobHasAComponentForEachRole) {
  config_.launch.slurm.heterogeneous = true;
  config_.launch.rollout_worker.nodes = 1;
  const std::vector<LaunchFile> files = Render(Request());
  const std::string& script = files[0].content;
  const size_t second = script.find("#SBATCH hetjob"), third = script.find("#SBATCH hetjob", second + 1);
  ASSERT_NE(third, std::string::npos);
  EXPECT_EQ(script.find("#SBATCH hetjob", third + 1), std::string::npos);
  // Two ranks, each on a machine with its GPU and room for what watches over all.
  EXPECT_THAT(script.substr(0, second),
              AllOf(HasSubstr("--nodes=2\n"), HasSubstr("--cpus-per-task=3\n"), HasSubstr("--mem=2560M\n"),
                    HasSubstr("--gres=gpu:1\n"), HasSubstr("--partition=\"gpu\"\n")));
  EXPECT_THAT(script.substr(second, third - second),
              AllOf(HasSubstr("--nodes=1\n"), HasSubstr("--cpus-per-task=2\n"), HasSubstr("--mem=2048M\n"),
                    Not(HasSubstr("--gres")), HasSubstr("--partition=\"gpu\"\n")));
  EXPECT_THAT(files[1].content,
              AllOf(HasSubstr("--het-group=0"), HasSubstr("--het-group=1"), HasSubstr("--het-group=2")));
}

TEST_F(SlurmTest, EachStepRunsInTheContainer) {
  config_.launch.slurm.container = "/images/grpo";
  EXPECT_THAT(Render(Request())[1].content, HasSubstr("--container=/images/grpo"));
}

TEST_F(SlurmTest, RefusesWhatWouldBeAnotherScript) {
  config_.launch.slurm.partition = "gpu\nrm -rf /";
  config_.launch.slurm.sbatch = {"mail-type=FAIL"};
  ASSERT_OK_AND_ASSIGN(const auto slurm, MakeLaunchTarget("slurm"));
  const auto files = slurm->Render(Request("/runs/a\nb"));
  for (const char* key : {"--run-dir", "launch.slurm.partition", "launch.slurm.sbatch.0"})
    EXPECT_STATUS(files, absl::StatusCode::kInvalidArgument, key);
}

// Not by a job that has waited in the queue for it.
TEST_F(SlurmTest, RefusesANetworkThatTheMachinesCannotUse) {
  config_.network.host = "127.0.0.1";
  config_.network.private_interface = "";
  ASSERT_OK_AND_ASSIGN(const auto slurm, MakeLaunchTarget("slurm"));
  for (const char* key : {"network.host", "network.private_interface"})
    EXPECT_STATUS(slurm->Render(Request()), absl::StatusCode::kInvalidArgument, key);
  // Ranks that share a machine need none of their own.
  config_.network.host = "0.0.0.0";
  config_.launch.trainer.nodes = 1;
  EXPECT_OK(slurm->Render(Request()));
  for (LaunchRoleOptions* role : {&config_.launch.rollout_worker, &config_.launch.reward_server}) role->nodes = 1;
  config_.network.host = "127.0.0.1";
  EXPECT_OK(slurm->Render(Request()));
}

TEST_F(SlurmTest, SaysWhichProgramIsNotThere) {
  ::setenv("PATH", "/nowhere", 1);
  ASSERT_OK_AND_ASSIGN(const auto slurm, MakeLaunchTarget("slurm"));
  EXPECT_STATUS(slurm->Submit("/runs/demo/launch"), absl::StatusCode::kNotFound, "no program sbatch in PATH");
  EXPECT_STATUS(slurm->State("42"), absl::StatusCode::kNotFound, "slurm-client");
  // An option of scontrol's is no job.
  EXPECT_STATUS(slurm->State("--all"), absl::StatusCode::kInvalidArgument, "--all");
  EXPECT_STATUS(MakeLaunchTarget("lsf"), absl::StatusCode::kInvalidArgument, "slurm");
}

// Clients of Slurm's that say what they are to say.
class FakeSlurmTest : public SlurmTest {
 protected:
  FakeSlurmTest() {
    EXPECT_OK(MakeFolders(bin_));
    ::setenv("PATH", absl::StrCat(bin_, ":/usr/bin:/bin").c_str(), 1);
  }
  void Client(const std::string& name, const std::string& script) {
    EXPECT_OK(WriteFileSynced(bin_ + "/" + name, "#!/bin/sh\n" + script + "\n"));
    EXPECT_EQ(::system(absl::StrCat("chmod 755 '", bin_, "/", name, "'").c_str()), 0);
  }
  const std::string bin_ = absl::StrCat(::testing::TempDir(), "/bin");
  const std::unique_ptr<LaunchTarget> slurm_ = *MakeLaunchTarget("slurm");
};

TEST_F(FakeSlurmTest, ReadsTheStateOfAJob) {
  Client("scontrol",
         "printf 'JobId=42 JobName=demo\\n   JobState=PENDING Reason=Resources Dependency=(null)\\n   "
         "WorkDir=/my runs/demo\\n   StdErr=/x\\n'");
  ASSERT_OK_AND_ASSIGN(const JobState waiting, slurm_->State("42"));
  EXPECT_EQ(waiting.word, "PENDING");
  EXPECT_EQ(waiting.reason, "Resources");
  EXPECT_EQ(waiting.run_dir, "/my runs/demo");
  EXPECT_FALSE(waiting.ended);
  Client("scontrol", "printf '   JobState=TIMEOUT Reason=None\\n'");
  ASSERT_OK_AND_ASSIGN(const JobState over, slurm_->State("42"));
  EXPECT_TRUE(over.ended);
  EXPECT_EQ(over.reason, "");
  Client("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_STATUS(slurm_->State("42"), absl::StatusCode::kNotFound, "forgets jobs");
  Client("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1");
  EXPECT_STATUS(slurm_->State("42"), absl::StatusCode::kUnavailable, "Unable to contact");
}

TEST_F(FakeSlurmTest, SubmitsAndStops) {
  Client("sbatch", "[ \"$2\" = /runs/demo/launch/launch.sbatch ] && echo '42;cluster'");
  ASSERT_OK_AND_ASSIGN(const std::string job, slurm_->Submit("/runs/demo/launch"));
  EXPECT_EQ(job, "42");
  const std::string called = absl::StrCat(::testing::TempDir(), "/called");
  Client("scancel", absl::StrCat("echo \"$@\" > '", called, "'"));
  const std::pair<const char*, const char*> cases[] = {{"RUNNING", "--signal=USR1 --batch 42\n"}, {"PENDING", "42\n"}};
  for (const auto& [state, call] : cases) {
    Client("scontrol", absl::StrCat("echo JobState=", state));
    ASSERT_OK(slurm_->Stop("42"));
    ASSERT_OK_AND_ASSIGN(const std::string said, ReadFile(called));
    EXPECT_EQ(said, call);
  }
}

}  // namespace
}  // namespace grpo
