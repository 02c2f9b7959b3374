#include "trainer/stage/context.h"

#include <atomic>
#include <fstream>
#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "common/status_testing.h"
#include "configs/load.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// A run that is going on, without stages.
class StageContextTest : public ::testing::Test {
 protected:
  StageContextTest()
      : coordinator_({}, {.run_id = "r", .config_sha256 = "", .epoch = 1}),
        board_(Running(), &coordinator_),
        context_{.config = config_,
                 .data_sha256 = data_sha256_,
                 .run_dir = "",
                 .policies = nullptr,
                 .coordinator = &coordinator_,
                 .board = &board_,
                 .control = &control_,
                 .collectives = nullptr,
                 .metrics = nullptr,
                 .save = nullptr} {}

  static v1::RunStatus Running() {
    v1::RunStatus status;
    status.set_state(v1::RUN_STATE_RUNNING);
    return status;
  }

  absl::StatusOr<v1::CheckpointStatus> Save() {
    ++num_saves_;
    if (disk_is_full_) return absl::ResourceExhaustedError("write x: No space left on device");
    return v1::CheckpointStatus();
  }
  absl::Status SaveAsConfigured() {
    return grpo::SaveAsConfigured(context_, "at step 7 of tune", [this] { return Save(); });
  }
  v1::RunStatus WaitForState(v1::RunState state) const {
    v1::RunStatus status = board_.Snapshot();
    while (status.state() != state) status = board_.WaitForChange(status.sequence(), absl::Seconds(30));
    return status;
  }

  RunConfig config_;
  std::map<std::string, std::string> data_sha256_;
  Coordinator coordinator_;
  RunControl control_;
  StatusBoard board_;
  RunContext context_;
  std::atomic<bool> disk_is_full_{true};
  std::atomic<int> num_saves_{0};
};

TEST_F(StageContextTest, AFailedSaveLeavesARunGoingOnByDefault) {
  EXPECT_OK(SaveAsConfigured());
  EXPECT_EQ(num_saves_, 1);
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING);
}

TEST_F(StageContextTest, AFailedSavePausesUntilOneSucceedsWhereThatIsConfigured) {
  config_.checkpoint.on_error = "pause";
  absl::Notification saved;
  std::thread training([&] {
    EXPECT_OK(SaveAsConfigured());
    saved.Notify();
  });
  const std::string reason = WaitForState(v1::RUN_STATE_PAUSED).state_reason();
  for (const char* text : {"no checkpoint at step 7 of tune: write x: No space left", "`grpoctl resume` tries again"})
    EXPECT_THAT(reason, HasSubstr(text));
  EXPECT_FALSE(saved.HasBeenNotified());
  disk_is_full_ = false;
  control_.Resume();
  training.join();
  EXPECT_EQ(num_saves_, 2);
  EXPECT_EQ(board_.Snapshot().state(), v1::RUN_STATE_RUNNING);
}

TEST_F(StageContextTest, ARunThatPausesForASaveCanBeStoppedAndSaysThatNothingWasSaved) {
  config_.checkpoint.on_error = "pause";
  std::thread training([&] {
    EXPECT_STATUS(SaveAsConfigured(), absl::StatusCode::kResourceExhausted,
                  "stopped, and the checkpoint could not be saved");
  });
  WaitForState(v1::RUN_STATE_PAUSED);
  control_.Stop();
  training.join();
}

TEST_F(StageContextTest, DataThatChangedWhileTheRunWentOnAreRefused) {
  const std::string path = ::testing::TempDir() + "/context_problems.jsonl";
  std::ofstream(path) << "{\"problem\": \"1+1?\", \"answer\": \"2\"}\n";
  ASSERT_OK_AND_ASSIGN(config_.data["problems"].options, ParseConfigText("{path: " + path + "}", "test.yaml"));
  config_.data["problems"].source = "jsonl";
  ASSERT_OK_AND_ASSIGN(const auto source, MakeDataSource(config_.data.at("problems"), ""));
  data_sha256_["problems"] = source->content_sha256();
  EXPECT_OK(OpenData(context_, "problems"));
  std::ofstream(path) << "{\"problem\": \"1+1?\", \"answer\": \"3\"}\n";
  EXPECT_STATUS(OpenData(context_, "problems"), absl::StatusCode::kDataLoss,
                "data.problems has changed since the run began: its SHA-256 was " + source->content_sha256());
}

}  // namespace
}  // namespace grpo
