#include "rollout/run_worker.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/mutex.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "rollout/scripted_generator.h"
#include "rollout/testing.h"

namespace grpo {
namespace {

// A coordinator that serves.
struct Place {
  FakeCoordinator coordinator;
  std::unique_ptr<rpc::Server> server;

  Place() : server(*rpc::Server::Start({}, {&coordinator})) {}
  bool HasWorker() {
    return coordinator.Wait([this] { return !coordinator.registrations.empty(); });
  }
  void EndRun() {
    MutexLock lock(&coordinator.mutex);
    coordinator.run_ended = true;
  }
};

class RunWorkerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(MakeFolders(run_dir_)); }
  void TearDown() override {
    stop_.Notify();
    if (thread_.joinable()) thread_.join();
    ASSERT_OK(RemoveAll(run_dir_));
  }

  void ServeAt(const Place& place) {
    ASSERT_OK(WriteEndpoint(RunEndpointPath(run_dir_), {.address = place.server->address(), .pid = 1}));
  }

  void Start(const std::string& coordinator) {
    ASSERT_OK_AND_ASSIGN(const CoordinatorPlace place, CoordinatorPlace::Parse(coordinator));
    WorkerOptions options;
    options.identity.worker_name = "rollout-0";
    options.make_generator = ScriptedGenerator::Factory(&script_);
    thread_ = std::thread([this, place, options] {
      status_ = RunWorker(
          place, [this](absl::Duration timeout) { return stop_.WaitFor(timeout); }, options);
    });
  }

  absl::Status Join() {
    thread_.join();
    return status_;
  }

  const std::string run_dir_ = absl::StrCat(::testing::TempDir(), "/run_worker.", ::getpid());
  GeneratorScript script_;
  Notification stop_;
  std::thread thread_;
  absl::Status status_;
};

TEST_F(RunWorkerTest, JoinsTheCoordinatorOfTheFolderAndEndsWithItsRun) {
  Place place;
  Start(run_dir_);  // before there is anything to join
  ServeAt(place);
  ASSERT_TRUE(place.HasWorker());
  place.EndRun();
  EXPECT_OK(Join());
}

TEST_F(RunWorkerTest, FollowsATrainerThatIsStartedElsewhere) {
  auto first = std::make_unique<Place>();
  ServeAt(*first);
  Start(run_dir_);
  ASSERT_TRUE(first->HasWorker());
  first->server.reset();
  Place second;
  ServeAt(second);
  ASSERT_TRUE(second.HasWorker());
  second.EndRun();
  EXPECT_OK(Join());
}

TEST_F(RunWorkerTest, ARefusalByWhoeverHasTheOldPortDoesNotEndIt) {
  Place stranger, place;
  stranger.coordinator.refuse_registration = "another run";
  ServeAt(stranger);
  Start(run_dir_);
  ASSERT_TRUE(stranger.HasWorker());
  ServeAt(place);
  ASSERT_TRUE(place.HasWorker());
  place.EndRun();
  EXPECT_OK(Join());
}

TEST_F(RunWorkerTest, ARefusalByTheAddressThatItWasGivenEndsIt) {
  Place place;
  place.coordinator.refuse_registration = "another run";
  Start(place.server->address());
  EXPECT_STATUS(Join(), absl::StatusCode::kFailedPrecondition, "another run");
}

TEST_F(RunWorkerTest, AStopEndsItWhileItWaitsForATrainer) {
  Start(run_dir_);
  stop_.Notify();
  EXPECT_STATUS(Join(), absl::StatusCode::kAborted, "stopped before");
}

TEST_F(RunWorkerTest, AStopEndsAWorkerThatHasJoined) {
  Place place;
  Start(place.server->address());
  ASSERT_TRUE(place.HasWorker());
  stop_.Notify();
  EXPECT_STATUS(Join(), absl::StatusCode::kAborted, "stopped before the run's end");
}

}  // namespace
}  // namespace grpo
