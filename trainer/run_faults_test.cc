// A run whose disk, port, ranks or users disturb it: how it ends, and that it goes on as if nothing had been.
#include <ATen/Parallel.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/failpoint_on.h"
#include "common/files.h"
#include "common/rpc/client.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "proto/trainer.grpc.pb.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/ranks.h"
#include "trainer/run.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// Saves after every second step (LoadTestConfig), and at the end.
constexpr char kStages[] =
    "  - {name: learn, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 5, rows_per_step: 2, "
    "row_tokens: 16}\n";
constexpr char kSampled[] =
    "  - {name: rl, type: train, algorithm: grpo, policy: model, data: problems, rewards: rules, steps: 4, "
    "prompts_per_step: 3, group_size: 2}\n";

class RunFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // A pool of threads would spend more on waking up than on these tensors.
    at::set_num_threads(1);
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(marks_));
    Load(kStages);
  }
  void TearDown() override {
    ArmFailpoints("", "");
    std::filesystem::remove_all(folder_);
  }

  void Load(const std::string& stages, const std::vector<std::string>& overrides = {}) {
    ASSERT_OK_AND_ASSIGN(loaded_, LoadTestConfig(folder_ + "/config", stages, overrides));
  }
  std::string Dir(const std::string& run) const { return absl::StrCat(folder_, "/", run); }

  absl::Status Execute(const std::string& run, bool resume = false, RunSurroundings surroundings = {},
                       Collectives* collectives = nullptr, std::optional<int64_t> port = {}) {
    const auto alone = Collectives::SingleRank();
    surroundings.farewell = absl::ZeroDuration();
    return ExecuteRun({.config = loaded_,
                       .run_dir = Dir(run),
                       .run_id = "test",
                       .resume = resume,
                       .port = port,
                       .advertise_host = ""},
                      collectives == nullptr ? alone.get() : collectives, surroundings);
  }

  // With a worker that samples. `judge` may disturb the run.
  absl::Status ExecuteSampled(const std::string& run, bool resume, std::function<void(const v1::Lease&)> judge) {
    std::unique_ptr<FakeWorker> worker;
    RunSurroundings surroundings;
    surroundings.on_serving = [&](Coordinator& coordinator, RunControl& control) {
      control_ = &control;
      worker = std::make_unique<FakeWorker>(&coordinator, [judge](const v1::Lease& lease, v1::ScoredCompletion*) {
        if (judge) judge(lease);
      });
    };
    surroundings.on_ended = [&] { worker.reset(); };
    return Execute(run, resume, surroundings);
  }

  // The hashes of every step: token ids and weights.
  std::string Hashes(const std::string& run) const {
    std::string hashes;
    for (const absl::string_view line :
         absl::StrSplit(ReadFile(Dir(run) + "/metrics.jsonl").value_or(""), '\n', absl::SkipEmpty())) {
      const nlohmann::json record = nlohmann::json::parse(line);
      absl::StrAppend(&hashes, record.at("step").dump(), " ", record.at("token_ids_hash").dump(), " ",
                      record.at("weights_hash").dump(), "\n");
    }
    return hashes;
  }
  bool Fired(const std::string& mark) const { return std::filesystem::exists(absl::StrCat(marks_, "/", mark)); }

  const std::string folder_ = ::testing::TempDir() + "/run_faults_test";
  const std::string marks_ = folder_ + "/marks";
  LoadedConfig loaded_;
  std::atomic<RunControl*> control_ = nullptr;
};

// By default a save that fails costs a checkpoint and nothing else.
TEST_F(RunFaultsTest, ADiskThatIsFullDuringASaveChangesNoResult) {
  ASSERT_OK(Execute("undisturbed"));
  ArmFailpoints("files.write(checkpoints)=error:ENOSPC@1", marks_);
  EXPECT_OK(Execute("run"));
  EXPECT_TRUE(Fired("files.write.0"));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
  EXPECT_TRUE(std::filesystem::exists(Dir("run") + "/summary.json"));
}

TEST_F(RunFaultsTest, ASaveThatFailsPausesWhereThatIsConfiguredAndIsTriedAgain) {
  ASSERT_OK(Execute("undisturbed"));
  Load(kStages, {"checkpoint.on_error=pause"});
  ArmFailpoints("files.write(checkpoints)=error:ENOSPC@1", marks_);
  std::string reason;
  std::thread user;
  RunSurroundings surroundings;
  surroundings.on_serving = [&](Coordinator&, RunControl&) {
    // As `grpoctl watch` and `grpoctl resume` do.
    user = std::thread([&] {
      const auto endpoint = ReadEndpoint(RunEndpointPath(Dir("run")));
      ASSERT_OK(endpoint);
      const auto client = rpc::Client::Create(endpoint->address);
      ASSERT_OK(client);
      const auto stub = v1::TrainerService::NewStub((*client)->channel());
      rpc::CallContext watching(**client, absl::Seconds(60));
      const auto stream = stub->WatchStatus(&watching, v1::WatchStatusRequest());
      v1::RunStatus status;
      while (stream->Read(&status) && status.state() != v1::RUN_STATE_PAUSED) {
      }
      reason = status.state_reason();
      watching.TryCancel();
      rpc::CallContext resuming(**client, absl::Seconds(60));
      v1::ControlResponse response;
      EXPECT_TRUE(stub->Resume(&resuming, v1::ResumeRequest(), &response).ok());
    });
  };
  EXPECT_OK(Execute("run", /*resume=*/false, surroundings));
  user.join();
  EXPECT_THAT(reason, HasSubstr("no checkpoint at step 2 of learn: "));
  EXPECT_THAT(reason, HasSubstr("Make room or mend the disk, then `grpoctl resume` tries again and goes on"));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
}

// The stage's work is not lost with the text about it.
TEST_F(RunFaultsTest, ASummaryThatCannotBeWrittenEndsTheRunAndItGoesOn) {
  ASSERT_OK(Execute("undisturbed"));
  ArmFailpoints("files.write(summary.json)=error:ENOSPC@1", marks_);
  EXPECT_STATUS(Execute("run"), absl::StatusCode::kResourceExhausted, "stage learn: ");
  EXPECT_FALSE(std::filesystem::exists(RunEndpointPath(Dir("run")))) << "nobody serves there any more";
  EXPECT_OK(Execute("run", /*resume=*/true));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
}

TEST_F(RunFaultsTest, APortThatAnotherHoldsEndsTheRunBeforeItsFirstStep) {
  Coordinator coordinator({}, {.run_id = "other", .config_sha256 = "", .epoch = 1});
  v1::TrainerService::Service other;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::Server::Start({}, {&other}));
  const int64_t port = std::stoi(server->address().substr(server->address().rfind(':') + 1));
  EXPECT_STATUS(Execute("run", /*resume=*/false, {}, nullptr, port), absl::StatusCode::kAlreadyExists,
                absl::StrCat("port in use: another process listens on ", server->address()));
  EXPECT_EQ(Hashes("run"), "");
  EXPECT_FALSE(std::filesystem::exists(RunEndpointPath(Dir("run"))));
}

TEST_F(RunFaultsTest, AnAddressOfATrainerThatIsDeadIsWithdrawnEvenIfThisOneCannotStart) {
  ASSERT_OK(MakeFolders(Dir("run") + "/checkpoints/step-000000000001"));
  ASSERT_OK(WriteEndpoint(RunEndpointPath(Dir("run")), {.address = "127.0.0.1:1"}));
  EXPECT_STATUS(Execute("run", /*resume=*/true), absl::StatusCode::kDataLoss, "");
  EXPECT_FALSE(std::filesystem::exists(RunEndpointPath(Dir("run"))));
}

// Stopped while groups of the second step are sampled: what had been sampled of it is sampled again.
TEST_F(RunFaultsTest, AStopInTheMiddleOfAStepSavesAndIsGoneOnWith) {
  Load(kSampled);
  ASSERT_OK(ExecuteSampled("undisturbed", /*resume=*/false, nullptr));
  EXPECT_OK(ExecuteSampled("run", /*resume=*/false, [this](const v1::Lease& lease) {
    if (lease.key().group_index() == 4) control_.load()->Stop();
  })) << "a stop that was asked for is a success";
  EXPECT_FALSE(std::filesystem::exists(Dir("run") + "/summary.json"));
  EXPECT_LT(Hashes("run").size(), Hashes("undisturbed").size());
  EXPECT_OK(ExecuteSampled("run", /*resume=*/true, nullptr));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
}

TEST_F(RunFaultsTest, APauseInTheMiddleOfAStepChangesNoResult) {
  Load(kSampled);
  ASSERT_OK(ExecuteSampled("undisturbed", /*resume=*/false, nullptr));
  EXPECT_OK(ExecuteSampled("run", /*resume=*/false, [this](const v1::Lease& lease) {
    if (lease.key().group_index() == 4) control_.load()->Pause("for a look");
    if (lease.key().group_index() == 5) control_.load()->Resume();
  }));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
}

// --- Several ranks ---

TEST_F(RunFaultsTest, TheOtherRanksAreLetGoAtTheEnd) {
  RunRanks(2, [&](Collectives& collectives) {
    if (collectives.rank() == 1) {
      EXPECT_OK(FollowRankZero(collectives, loaded_.config));
    } else {
      EXPECT_OK(Execute("run", /*resume=*/false, {}, &collectives));
    }
  });
}

// The others are started again by whoever started them; the address stays withdrawn until then.
TEST_F(RunFaultsTest, ARankThatIsGoneEndsTheRunUnavailableAndItGoesOn) {
  ASSERT_OK(Execute("undisturbed"));
  RunRanks(2, [&](Collectives& collectives) {
    if (collectives.rank() == 1) return;  // its sockets close
    EXPECT_STATUS(Execute("run", /*resume=*/false, {}, &collectives), absl::StatusCode::kUnavailable, "stage learn: ");
  });
  EXPECT_FALSE(std::filesystem::exists(Dir("run") + "/summary.json"));
  EXPECT_OK(Execute("run", /*resume=*/true));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
}

}  // namespace
}  // namespace grpo
