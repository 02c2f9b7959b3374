#include "reward/registration.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "common/version.h"
#include "reward/registration_testing.h"

namespace grpo {
namespace {

class RegistrationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    coordinator_.answer.set_heartbeat_interval_ms(10);
    Start(/*port=*/0);
  }

  void Start(int port) { server_ = *rpc::Server::Start({.port = port}, {&coordinator_}); }

  void Join() {
    registration_ = std::make_unique<Registration>(*rpc::Client::Create(server_->address()), [] {
      v1::RegisterRewardServerRequest request;
      request.set_name("reward-0");
      request.set_address("127.0.0.1:7");
      return request;
    });
  }

  bool WaitForRequests(size_t count) {
    return coordinator_.Wait([&] { return coordinator_.requests.size() >= count; });
  }
  // The registration's own thread ends itself; there is nothing to wait on but its word.
  bool WaitForEnd() {
    for (const absl::Duration deadline = Clock::Real().Now() + absl::Minutes(1); !registration_->ended();) {
      if (Clock::Real().Now() > deadline) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }

  FakeCoordinator coordinator_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Registration> registration_;
};

TEST_F(RegistrationTest, SaysAgainAndAgainWhereItServesAndAtLastThatItLeaves) {
  Join();
  ASSERT_TRUE(WaitForRequests(3));
  EXPECT_FALSE(registration_->ended());
  registration_.reset();
  const MutexLock lock(&coordinator_.mutex);
  for (size_t i = 0; i < coordinator_.requests.size(); ++i) {
    const v1::RegisterRewardServerRequest& request = coordinator_.requests[i];
    EXPECT_EQ(request.protocol_version(), kProtocolVersion);
    EXPECT_EQ(request.build(), kBuild);
    EXPECT_EQ(request.name(), "reward-0");
    EXPECT_EQ(request.address(), "127.0.0.1:7");
    EXPECT_EQ(request.leaving(), i + 1 == coordinator_.requests.size()) << i;
  }
}

TEST_F(RegistrationTest, OutlivesACoordinatorThatIsStartedAnew) {
  Join();
  ASSERT_TRUE(WaitForRequests(1));
  const std::string address = server_->address();
  server_->Shutdown();
  server_.reset();
  const size_t so_far = [&] {
    const MutexLock lock(&coordinator_.mutex);
    return coordinator_.requests.size();
  }();
  Start(std::stoi(address.substr(address.rfind(':') + 1)));
  EXPECT_TRUE(WaitForRequests(so_far + 1));
  EXPECT_FALSE(registration_->ended());
}

TEST_F(RegistrationTest, EndsWithTheRunAndThenDoesNotLeave) {
  coordinator_.answer.set_run_ended(true);
  Join();
  ASSERT_TRUE(WaitForEnd());
  EXPECT_OK(registration_->status());
  registration_.reset();
  const MutexLock lock(&coordinator_.mutex);
  EXPECT_EQ(coordinator_.requests.size(), 1);
}

TEST_F(RegistrationTest, ARefusalIsTheLastWordAndNamesTheCoordinator) {
  coordinator_.status = {grpc::StatusCode::FAILED_PRECONDITION, "the reward server's run is a, this one's is b"};
  Join();
  ASSERT_TRUE(WaitForEnd());
  EXPECT_STATUS(registration_->status(), absl::StatusCode::kFailedPrecondition, server_->address());
  EXPECT_STATUS(registration_->status(), absl::StatusCode::kFailedPrecondition, "run is a, this one's is b");
}

TEST_F(RegistrationTest, ATroubledCoordinatorIsAskedAgain) {
  coordinator_.status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many names"};
  Join();
  ASSERT_TRUE(WaitForRequests(2));
  EXPECT_FALSE(registration_->ended());
}

}  // namespace
}  // namespace grpo
