#include "tools/grpoctl/local/local_run.h"

#include <sys/stat.h>

#include <filesystem>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/records/run_folder.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The three programs are shell scripts that write their command lines to the log.
class LocalRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(root_);
    ASSERT_OK(MakeFolders(root_));
    auto folder = RunFolder::Lock(root_ + "/run");
    ASSERT_OK(folder);
    folder_ = *std::move(folder);
    ASSERT_OK(folder_->Begin("run: {name: fake}\n"));
    config_.rollout_worker.workers = 2;
    config_.rewards["rules"];
    programs_.reward_server = Program("reward_server", "exec sleep 1000");
    programs_.rollout_worker = Program("rollout_worker", "exec sleep 1000");
    // Ends when both workers have started.
    programs_.trainer =
        Program("trainer", kTrain + "while ! grep -qs rollout-1 " + Log("rollout-1") + " || ! grep -qs reward-0 " +
                               Log("reward-0") + "; do sleep 0.02; done; exit 0");
  }

  std::string Program(const std::string& name, const std::string& script) {
    const std::string path = root_ + "/" + name;
    EXPECT_OK(WriteFileSynced(path, "#!/bin/sh\necho \"$@\"\n" + script + "\n"));
    EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
    return path;
  }
  std::string Log(const std::string& name) const { return folder_->path() + "/logs/" + name + ".log"; }

  int Run(bool resume = false) {
    const absl::StatusOr<RunPlan> plan = MakeRunPlan(
        config_, {.run_dir = folder_->path(), .run_id = "fake-01234567", .programs = programs_, .resume = resume});
    EXPECT_OK(plan);
    ProgressPrinter printer(talk_, ProgressStyle{}, Clock::Real());
    return LocalRun(*plan, {}, &printer).Run();
  }

  // As the trainer's rank 0: serves, and leaves its endpoint behind as one does that is killed.
  const std::string kTrain =
      "while [ \"$1\" != --run-dir ]; do shift; done\n"
      "echo '{\"address\":\"127.0.0.1:9\"}' > $2/endpoint.tmp; mv $2/endpoint.tmp $2/endpoint.json\n";
  const std::string root_ = ::testing::TempDir() + "/local_run";
  std::unique_ptr<RunFolder> folder_;
  RunConfig config_;
  Programs programs_;
  std::ostringstream talk_;
};

TEST_F(LocalRunTest, StartsEveryRoleWithWhatItNeeds) {
  EXPECT_EQ(Run(), kExitOk) << talk_.str();
  const std::string config = "--config " + folder_->path() + "/config.yaml";
  EXPECT_THAT(*ReadFile(Log("reward-0")), AllOf(HasSubstr(config), HasSubstr("--port 0"), HasSubstr("--with-parent"),
                                                HasSubstr("--coordinator 127.0.0.1:9"), HasSubstr("--name reward-0"),
                                                HasSubstr("--run-id fake-01234567")));
  EXPECT_THAT(*ReadFile(Log("trainer")), AllOf(HasSubstr(config), HasSubstr("--run-dir " + folder_->path()),
                                               HasSubstr("--run-id fake-01234567"), HasSubstr("--with-parent")));
  EXPECT_THAT(*ReadFile(Log("trainer")), ::testing::Not(HasSubstr("--resume")));
  EXPECT_THAT(*ReadFile(Log("rollout-1")), AllOf(HasSubstr("--coordinator 127.0.0.1:9"), HasSubstr("--name rollout-1"),
                                                 HasSubstr("--attempt 1"), HasSubstr("--run-id fake-01234567")));
  // Client verbs do not find a run that is over.
  EXPECT_FALSE(std::filesystem::exists(folder_->path() + "/endpoint.json"));
}

TEST_F(LocalRunTest, PassesResumeAndConfiguredPorts) {
  config_.reward_server.servers = 2;
  config_.reward_server.port = 5005;
  EXPECT_EQ(Run(/*resume=*/true), kExitOk) << talk_.str();
  EXPECT_THAT(*ReadFile(Log("trainer")), HasSubstr("--resume"));
  EXPECT_THAT(*ReadFile(Log("reward-1")), HasSubstr("--port 5006"));
}

TEST_F(LocalRunTest, FailureAtTheStartIsShownAndItsCodeReturned) {
  programs_.reward_server = Program("reward_server", "echo port 5005 is taken >&2; exit 73");
  programs_.trainer = Program("trainer", kTrain + "exec sleep 1000");
  EXPECT_EQ(Run(), kExitCannotCreate);
  EXPECT_THAT(talk_.str(), AllOf(HasSubstr("reward-0 ended with exit code 73"), HasSubstr("| port 5005 is taken")));
}

TEST_F(LocalRunTest, FailureOfTheTrainerIsShownAndItsCodeReturned) {
  programs_.trainer = Program("trainer", kTrain + "echo loss is not finite >&2; exit 1");
  EXPECT_EQ(Run(), kExitRunFailed);
  EXPECT_THAT(talk_.str(), AllOf(HasSubstr("trainer ended with exit code 1"), HasSubstr("| loss is not finite")));
}

}  // namespace
}  // namespace grpo
