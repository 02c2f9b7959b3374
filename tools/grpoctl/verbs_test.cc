// The verbs that ask a trainer, as scripts see them: a trainer in this process, and the binary beside it.
#include <stdio.h>
#include <sys/wait.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/exit_codes.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "proto/trainer.grpc.pb.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Does as it is told and notes what it was asked. Thread-safe; fields under `mutex`.
class FakeTrainer : public v1::TrainerService::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::RunStatus* response) override {
    *response = Status(v1::RUN_STATE_RUNNING);
    return Note("status");
  }
  grpc::Status WatchStatus(grpc::ServerContext*, const v1::WatchStatusRequest*,
                           grpc::ServerWriter<v1::RunStatus>* writer) override {
    std::vector<v1::RunState> states;
    {
      absl::MutexLock lock(&mutex);
      states = watched;
    }
    for (const v1::RunState state : states) writer->Write(Status(state));
    return Note("watch");
  }
  grpc::Status Pause(grpc::ServerContext*, const v1::PauseRequest* request, v1::ControlResponse* response) override {
    response->set_state(v1::RUN_STATE_PAUSED);
    return Note(absl::StrCat("pause ", request->reason()));
  }
  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest*, v1::ControlResponse* response) override {
    response->set_state(v1::RUN_STATE_RUNNING);
    return Note("resume");
  }
  grpc::Status Stop(grpc::ServerContext*, const v1::StopRequest*, v1::ControlResponse* response) override {
    response->set_state(v1::RUN_STATE_STOPPING);
    return Note("stop");
  }
  grpc::Status SaveCheckpoint(grpc::ServerContext*, const v1::SaveCheckpointRequest*,
                              v1::SaveCheckpointResponse* response) override {
    response->mutable_checkpoint()->set_stage("rl\x1b[2J");
    response->mutable_checkpoint()->set_step(7);
    response->mutable_checkpoint()->set_path("checkpoints/step-7");
    return Note("checkpoint");
  }

  absl::Mutex mutex;
  std::vector<std::string> asked ABSL_GUARDED_BY(mutex);
  std::vector<v1::RunState> watched ABSL_GUARDED_BY(mutex);
  // Of the next calls.
  grpc::Status answer ABSL_GUARDED_BY(mutex);

 private:
  static v1::RunStatus Status(v1::RunState state) {
    v1::RunStatus status;
    status.set_run_name("fake");
    status.set_run_id("fake-1");
    status.set_state(state);
    return status;
  }
  grpc::Status Note(std::string call) {
    absl::MutexLock lock(&mutex);
    asked.push_back(std::move(call));
    return answer;
  }
};

struct Result {
  int exit_code = -1;
  std::string output;
};

class VerbsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(server_, rpc::Server::Start({}, {&trainer_})); }

  // stdout, or with `redirect` what that makes of it.
  Result Run(const std::string& verb, const std::string& redirect = "2>/dev/null") {
    const std::string command = absl::StrCat("tools/grpoctl ", verb, " --address ", server_->address(), " ", redirect);
    Result result;
    FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (size_t got; (got = ::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) result.output.append(buffer, got);
    const int status = ::pclose(pipe);
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
  }
  Result RunForErrors(const std::string& verb) { return Run(verb, "2>&1 >/dev/null"); }
  std::vector<std::string> Asked() {
    absl::MutexLock lock(&trainer_.mutex);
    return trainer_.asked;
  }
  void Watched(std::vector<v1::RunState> states) {
    absl::MutexLock lock(&trainer_.mutex);
    trainer_.watched = std::move(states);
  }

  FakeTrainer trainer_;
  std::unique_ptr<rpc::Server> server_;
};

TEST_F(VerbsTest, ControlPrintsTheStateThatTheRunIsInNow) {
  const std::pair<const char*, const char*> cases[] = {
      {"pause --reason 'machine needed'", "PAUSED\n"}, {"resume", "RUNNING\n"}, {"stop", "STOPPING\n"}};
  for (const auto& [verb, printed] : cases) {
    const Result result = Run(verb);
    EXPECT_EQ(result.exit_code, kExitOk) << verb;
    EXPECT_EQ(result.output, printed) << verb;
  }
  EXPECT_THAT(Asked(), ElementsAre("pause machine needed", "resume", "stop"));
}

TEST_F(VerbsTest, CheckpointPrintsTheFolderAloneAndTheRestBeside) {
  EXPECT_EQ(Run("checkpoint").output, "checkpoints/step-7\n") << "for DIR=$(grpoctl checkpoint)";
  EXPECT_EQ(RunForErrors("checkpoint").output, "stage rl\\x1b[2J, step 7\n");
}

TEST_F(VerbsTest, StatusIsATableForPeopleAndJsonForPrograms) {
  const Result table = Run("status");
  EXPECT_EQ(table.exit_code, kExitOk);
  EXPECT_THAT(table.output, HasSubstr("fake (fake-1)"));
  const auto json = nlohmann::json::parse(Run("status --output json").output, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["run_name"], "fake");
  EXPECT_EQ(json["state"], "RUN_STATE_RUNNING");
}

// What a script that waits for the run makes its decision by.
TEST_F(VerbsTest, WatchEndsWithTheRunAndItsCodeSaysHow) {
  const std::pair<v1::RunState, int> cases[] = {
      {v1::RUN_STATE_FINISHED, kExitOk}, {v1::RUN_STATE_STOPPED, kExitRetry}, {v1::RUN_STATE_FAILED, kExitRunFailed}};
  for (const auto& [state, exit_code] : cases) {
    Watched({v1::RUN_STATE_RUNNING, state});
    const Result result = Run("watch --output json");
    EXPECT_EQ(result.exit_code, exit_code) << v1::RunState_Name(state);
    EXPECT_THAT(result.output, HasSubstr(v1::RunState_Name(state)));
    EXPECT_THAT(result.output, HasSubstr("RUN_STATE_RUNNING")) << "a line each";
  }
}

TEST_F(VerbsTest, HealthSaysServing) {
  const Result result = Run("health");
  EXPECT_EQ(result.exit_code, kExitOk);
  EXPECT_EQ(result.output, "SERVING\n");
  server_->Shutdown();
  const Result down = RunForErrors("health");
  EXPECT_EQ(down.exit_code, kExitUnavailable);
  EXPECT_THAT(down.output, HasSubstr("is not healthy: "));
}

TEST_F(VerbsTest, WhatTheTrainerRefusesIsSaidWithItsWords) {
  {
    absl::MutexLock lock(&trainer_.mutex);
    trainer_.answer = {grpc::StatusCode::FAILED_PRECONDITION, "the run has ended"};
  }
  for (const char* const verb : {"pause", "resume", "stop", "checkpoint", "status"}) {
    const Result result = RunForErrors(verb);
    EXPECT_EQ(result.exit_code, kExitRunFailed) << verb;
    EXPECT_EQ(result.output, absl::StrCat("grpoctl: the trainer at ", server_->address(), " says: the run has ended\n"))
        << verb;
  }
}

}  // namespace
}  // namespace grpo
