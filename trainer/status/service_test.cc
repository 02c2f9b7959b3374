// Status and control over loopback.
#include "trainer/status/service.h"

#include <memory>
#include <thread>
#include <vector>

#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

v1::RunStatus OneStage() {
  v1::RunStatus status;
  status.set_run_name("test");
  status.set_state(v1::RUN_STATE_RUNNING);
  v1::StageStatus* stage = status.add_stages();
  stage->set_name("r1_zero");
  stage->set_num_steps(10);
  return status;
}

class TrainerServiceTest : public ::testing::Test {
 protected:
  TrainerServiceTest() {
    server_ = *rpc::Server::Start(rpc::ServerOptions{}, {&service_});
    client_ = *rpc::Client::Create(server_->address());
    stub_ = v1::TrainerService::NewStub(client_->channel());
  }

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (v1::TrainerService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    rpc::CallContext context(*client_, absl::Minutes(1));
    return rpc::FromGrpc((stub_.get()->*method)(&context, request, response));
  }

  v1::RunStatus Status() {
    v1::RunStatus status;
    EXPECT_OK(Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest(), &status));
    return status;
  }

  FakeClock clock_;
  Coordinator coordinator_{CoordinatorOptions{}, {.run_id = "r", .config_sha256 = "c", .epoch = 1}, clock_};
  StatusBoard board_{OneStage(), &coordinator_, clock_};
  RunControl control_{&board_};
  TrainerServiceImpl service_{&board_, &control_, "run: {name: test}\n", "abc"};
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<v1::TrainerService::Stub> stub_;
};

TEST_F(TrainerServiceTest, AnswersWithTheBoardAndTheConfiguration) {
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(Status().run_name(), "test");
  EXPECT_EQ(Status().elapsed_seconds(), 5);
  v1::GetConfigResponse config;
  ASSERT_OK(Call(&v1::TrainerService::Stub::GetConfig, v1::GetConfigRequest(), &config));
  EXPECT_EQ(config.resolved_yaml(), "run: {name: test}\n");
  EXPECT_EQ(config.sha256(), "abc");
}

TEST_F(TrainerServiceTest, APauseShowsItsReasonUntilItIsLifted) {
  v1::PauseRequest pause;
  pause.set_reason("lunch");
  v1::ControlResponse response;
  ASSERT_OK(Call(&v1::TrainerService::Stub::Pause, pause, &response));
  EXPECT_EQ(response.state(), v1::RUN_STATE_PAUSED);
  EXPECT_EQ(Status().state_reason(), "lunch");
  ASSERT_OK(Call(&v1::TrainerService::Stub::Resume, v1::ResumeRequest(), &response));
  EXPECT_EQ(response.state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(Status().state_reason(), "");
}

// Nobody has registered: the run waits, and says so once that has lasted.
TEST_F(TrainerServiceTest, WaitingForWorkersThatAreNotThereIsAPauseWithAReason) {
  board_.SetPhase("wait_rollouts");
  clock_.Advance(absl::Seconds(60));
  const v1::RunStatus status = Status();
  EXPECT_EQ(status.state(), v1::RUN_STATE_PAUSED);
  EXPECT_THAT(status.state_reason(), ::testing::HasSubstr("worker"));
  board_.SetPhase("step");
  EXPECT_EQ(Status().state(), v1::RUN_STATE_RUNNING);
}

TEST_F(TrainerServiceTest, SaveIsAnsweredByTheTrainingThread) {
  absl::Status answer;
  v1::SaveCheckpointResponse response;
  std::thread caller([&] {
    answer = Call(&v1::TrainerService::Stub::SaveCheckpoint, v1::SaveCheckpointRequest(), &response);
    control_.Stop();
  });
  absl::Status status;
  while (status.ok()) {
    status = control_.Poll([]() -> absl::StatusOr<v1::CheckpointStatus> {
      v1::CheckpointStatus saved;
      saved.set_path("checkpoints/step-000000000003");
      return saved;
    });
  }
  caller.join();
  EXPECT_OK(answer);
  EXPECT_EQ(response.checkpoint().path(), "checkpoints/step-000000000003");
}

TEST_F(TrainerServiceTest, WatchersSeeGrowingSequencesAndTheEnd) {
  rpc::CallContext context(*client_, absl::Minutes(1));
  v1::WatchStatusRequest request;
  request.set_min_interval_ms(1);
  const auto stream = stub_->WatchStatus(&context, request);
  v1::RunStatus status;
  ASSERT_TRUE(stream->Read(&status));
  int64_t sequence = status.sequence();
  board_.Update([](v1::RunStatus& board) { board.mutable_stages(0)->set_step(4); });
  while (status.stages(0).step() != 4) {
    ASSERT_TRUE(stream->Read(&status));
    EXPECT_GE(status.sequence(), sequence);
    sequence = status.sequence();
  }
  board_.Update([](v1::RunStatus& board) { board.set_state(v1::RUN_STATE_FINISHED); });
  while (stream->Read(&status)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(status.state(), v1::RUN_STATE_FINISHED);
}

// 512 of them took every thread of the server: workers were refused, and the run paused as if they were lost.
TEST_F(TrainerServiceTest, WatchersBeyondTheirShareAreRefusedAndEverybodyElseIsServed) {
  struct Watcher {
    explicit Watcher(const rpc::Client& client) : context(client, absl::Seconds(60)) {}
    rpc::CallContext context;
    std::unique_ptr<grpc::ClientReader<v1::RunStatus>> stream;
  };
  std::vector<std::unique_ptr<Watcher>> watchers;
  const auto watch = [&] {
    Watcher& watcher = *watchers.emplace_back(std::make_unique<Watcher>(*client_));
    watcher.stream = stub_->WatchStatus(&watcher.context, v1::WatchStatusRequest());
    v1::RunStatus status;
    return watcher.stream->Read(&status);
  };
  for (size_t i = 0; i < TrainerServiceImpl::kMaxWatchers; ++i) ASSERT_TRUE(watch());
  EXPECT_FALSE(watch());
  EXPECT_STATUS(rpc::FromGrpc(watchers.back()->stream->Finish()), absl::StatusCode::kResourceExhausted,
                "WatchStatus: 64 calls are under way");
  EXPECT_EQ(Status().run_name(), "test");
  watchers.pop_back();
  for (const auto& watcher : watchers) {
    watcher->context.TryCancel();
    watcher->stream->Finish();
  }
}

TEST_F(TrainerServiceTest, ARunThatHasEndedTakesNoRequests) {
  board_.Update([](v1::RunStatus& board) { board.set_state(v1::RUN_STATE_FAILED); });
  v1::ControlResponse response;
  EXPECT_STATUS(Call(&v1::TrainerService::Stub::Pause, v1::PauseRequest(), &response),
                absl::StatusCode::kFailedPrecondition, "RUN_STATE_FAILED");
  EXPECT_STATUS(Call(&v1::TrainerService::Stub::Stop, v1::StopRequest(), &response),
                absl::StatusCode::kFailedPrecondition, "ended");
  EXPECT_FALSE(control_.stop_requested());
}

}  // namespace
}  // namespace grpo
