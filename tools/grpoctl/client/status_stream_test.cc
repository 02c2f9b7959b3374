#include "tools/grpoctl/client/status_stream.h"

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/client/status_text.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Plays its snapshots to every WatchStatus and then ends the call.
class FakeTrainer : public v1::TrainerService::Service {
 public:
  std::vector<v1::RunState> script;
  absl::Notification watched;
  // Keeps the call open after the script until the caller leaves.
  bool hold = false;

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::RunStatus* response) override {
    response->set_run_name("fake");
    response->set_state(v1::RUN_STATE_RUNNING);
    return grpc::Status::OK;
  }
  grpc::Status WatchStatus(grpc::ServerContext* context, const v1::WatchStatusRequest*,
                           grpc::ServerWriter<v1::RunStatus>* writer) override {
    for (const v1::RunState state : script) {
      v1::RunStatus status;
      status.set_state(state);
      writer->Write(status);
    }
    if (!watched.HasBeenNotified()) watched.Notify();
    while (hold && !context->IsCancelled()) absl::SleepFor(absl::Milliseconds(5));
    return grpc::Status::OK;
  }
  grpc::Status Pause(grpc::ServerContext*, const v1::PauseRequest*, v1::ControlResponse*) override {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "the run has ended\x1b[2J");
  }
};

class StatusStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = rpc::Server::Start({}, {&trainer_});
    ASSERT_OK(server);
    server_ = *std::move(server);
    flags_.address = server_->address();
  }
  FakeTrainer trainer_;
  std::unique_ptr<rpc::Server> server_;
  ConnectionFlags flags_;
};

TEST_F(StatusStreamTest, ReadsToTheTerminalSnapshot) {
  trainer_.script = {v1::RUN_STATE_RUNNING, v1::RUN_STATE_PAUSED, v1::RUN_STATE_FINISHED};
  ASSERT_OK_AND_ASSIGN(const TrainerConnection connection, TrainerConnection::Open(flags_));
  std::vector<v1::RunState> seen;
  EXPECT_OK(StatusStream(connection).Read(absl::Milliseconds(1), [&](const v1::RunStatus& status) {
    seen.push_back(status.state());
  }));
  EXPECT_THAT(seen, ElementsAre(v1::RUN_STATE_RUNNING, v1::RUN_STATE_PAUSED, v1::RUN_STATE_FINISHED));
}

TEST_F(StatusStreamTest, StreamThatEndsTooEarlyIsAnError) {
  trainer_.script = {v1::RUN_STATE_RUNNING};
  ASSERT_OK_AND_ASSIGN(const TrainerConnection connection, TrainerConnection::Open(flags_));
  EXPECT_STATUS(StatusStream(connection).Read(absl::Milliseconds(1), [](const v1::RunStatus&) {}),
                absl::StatusCode::kUnavailable, "before the run had ended");
}

TEST_F(StatusStreamTest, BackgroundStatusKeepsTheNewestAndEndsWhenAsked) {
  trainer_.script = {v1::RUN_STATE_STARTING, v1::RUN_STATE_RUNNING};
  trainer_.hold = true;
  ASSERT_OK_AND_ASSIGN(TrainerConnection connection, TrainerConnection::Open(flags_));
  BackgroundStatus background(std::move(connection));
  trainer_.watched.WaitForNotification();
  std::optional<v1::RunStatus> newest;
  for (int i = 0; i < 4000 && (!newest.has_value() || newest->state() != v1::RUN_STATE_RUNNING); ++i) {
    absl::SleepFor(absl::Milliseconds(1));
    if (std::optional<v1::RunStatus> taken = background.Take()) newest = taken;
  }
  ASSERT_TRUE(newest.has_value());
  EXPECT_EQ(newest->state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(background.Take(), std::nullopt);
}

TEST(StatusText, NamesTheRewardServers) {
  v1::RunStatus status;
  v1::RewardServerStatus& server = *status.add_reward_servers();
  server.set_name("reward-0\x1b[2J");
  server.set_address("node-a:7100");
  server.set_state(v1::WORKER_STATE_LOST);
  server.set_last_seen_ms(4200);
  for (const char* name : {"r1_zero", "rules_only"}) server.add_profiles()->set_name(name);
  const std::string table = StatusTable(status);
  for (const char* part : {"reward-0\\x1b[2J", "lost", "4.2 s", "node-a:7100", "r1_zero, rules_only"})
    EXPECT_THAT(table, HasSubstr(part));
}

TEST(StatusText, SaysWhoWasRefusedAndWhatIsAmiss) {
  v1::RunStatus status;
  EXPECT_THAT(StatusTable(status), ::testing::Not(HasSubstr("refused  ")));
  (*status.mutable_refused_callers())["wrong_role"] = 3;
  (*status.mutable_refused_callers())["expired_certificate"] = 1;
  status.add_alerts("ranks talk in the clear\x1b[2J");
  const std::string table = StatusTable(status);
  for (const char* part : {"callers: 1 expired_certificate, 3 wrong_role\n", "ALERT", "in the clear\\x1b[2J"})
    EXPECT_THAT(table, HasSubstr(part));
}

TEST_F(StatusStreamTest, CallsGoThroughAndErrorsAreExplained) {
  ASSERT_OK_AND_ASSIGN(const TrainerConnection connection, TrainerConnection::Open(flags_));
  const auto status = connection.Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest());
  ASSERT_OK(status);
  EXPECT_THAT(StatusTable(*status), HasSubstr("fake"));
  EXPECT_THAT(StatusJson(*status, /*indented=*/false), HasSubstr("\"state\":\"RUN_STATE_RUNNING\""));
  // What a server says is made printable.
  EXPECT_STATUS(connection.Call(&v1::TrainerService::Stub::Pause, v1::PauseRequest()),
                absl::StatusCode::kFailedPrecondition, "the run has ended\\x1b[2J");
}

TEST_F(StatusStreamTest, AbsentTrainerIsUnavailableWithWhatToDo) {
  server_->Shutdown(absl::ZeroDuration());
  ASSERT_OK_AND_ASSIGN(const TrainerConnection connection, TrainerConnection::Open(flags_));
  EXPECT_STATUS(connection.Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest()),
                absl::StatusCode::kUnavailable, "grpoctl run --resume");
}

}  // namespace
}  // namespace grpo
