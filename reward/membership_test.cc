#include "reward/membership.h"

#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "reward/registration_testing.h"

namespace grpo {
namespace {

// A coordinator that serves.
struct Trainer {
  FakeCoordinator coordinator;
  std::unique_ptr<rpc::Server> server;

  Trainer() {
    coordinator.answer.set_heartbeat_interval_ms(10);
    server = *rpc::Server::Start({}, {&coordinator});
  }
  bool KnowsTheServer() {
    return coordinator.Wait([this] { return !coordinator.requests.empty(); });
  }
};

class MembershipTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(MakeFolders(run_dir_)); }
  void TearDown() override {
    membership_.reset();
    ASSERT_OK(RemoveAll(run_dir_));
  }

  void ServeAt(const Trainer& trainer) {
    ASSERT_OK(WriteEndpoint(RunEndpointPath(run_dir_), {.address = trainer.server->address(), .pid = 1}));
  }

  void Join(const std::string& coordinator) {
    ASSERT_OK_AND_ASSIGN(const CoordinatorPlace place, CoordinatorPlace::Parse(coordinator));
    const auto announcement = [] {
      v1::RegisterRewardServerRequest request;
      request.set_name("reward-0");
      request.set_address("127.0.0.1:7");
      return request;
    };
    ASSERT_OK_AND_ASSIGN(membership_, Membership::Join(place, announcement, clock_));
  }

  // How it ended; the registration's thread has nothing to wait on but its word.
  absl::Status WaitForEnd() {
    for (const absl::Duration deadline = Clock::Real().Now() + absl::Minutes(1); Clock::Real().Now() < deadline;) {
      if (const auto ended = membership_->Look(); ended.has_value()) return *ended;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return absl::DeadlineExceededError("it did not end");
  }

  const std::string run_dir_ = absl::StrCat(::testing::TempDir(), "/membership.", ::getpid());
  FakeClock clock_;
  std::unique_ptr<Membership> membership_;
};

TEST_F(MembershipTest, WaitsForTheTrainerOfTheFolder) {
  Join(run_dir_);
  EXPECT_FALSE(membership_->Look().has_value());
  Trainer trainer;
  ServeAt(trainer);
  EXPECT_FALSE(membership_->Look().has_value());
  EXPECT_TRUE(trainer.KnowsTheServer());
  membership_.reset();
}

TEST_F(MembershipTest, FollowsATrainerThatIsStartedElsewhere) {
  Trainer first, second;
  ServeAt(first);
  Join(run_dir_);
  ASSERT_TRUE(first.KnowsTheServer());
  ServeAt(second);
  EXPECT_FALSE(membership_->Look().has_value());
  EXPECT_TRUE(second.KnowsTheServer());
  {
    const MutexLock lock(&first.coordinator.mutex);
    EXPECT_TRUE(first.coordinator.requests.back().leaving()) << "it took its leave";
  }
  membership_.reset();
}

TEST_F(MembershipTest, EndsWithTheRun) {
  Trainer trainer;
  trainer.coordinator.answer.set_run_ended(true);
  Join(trainer.server->address());
  EXPECT_OK(WaitForEnd());
}

TEST_F(MembershipTest, ARefusalByTheAddressThatItWasGivenIsTheLastWord) {
  Trainer trainer;
  trainer.coordinator.status = {grpc::StatusCode::FAILED_PRECONDITION, "another run"};
  Join(trainer.server->address());
  EXPECT_STATUS(WaitForEnd(), absl::StatusCode::kFailedPrecondition, "another run");
}

TEST_F(MembershipTest, ARefusalByWhoeverHasTheOldPortIsForgottenOnceTheFileIsNew) {
  Trainer stranger, trainer;
  stranger.coordinator.status = {grpc::StatusCode::FAILED_PRECONDITION, "another run"};
  ServeAt(stranger);
  Join(run_dir_);
  ASSERT_TRUE(stranger.KnowsTheServer());
  for (int second = 0; second < 29; ++second) {
    ASSERT_FALSE(membership_->Look().has_value());
    clock_.Advance(absl::Seconds(1));
  }
  ServeAt(trainer);
  EXPECT_FALSE(membership_->Look().has_value());
  EXPECT_TRUE(trainer.KnowsTheServer());
  membership_.reset();
}

TEST_F(MembershipTest, ARefusalThatTheFileKeepsToEndsIt) {
  Trainer trainer;
  trainer.coordinator.status = {grpc::StatusCode::FAILED_PRECONDITION, "another run"};
  ServeAt(trainer);
  Join(run_dir_);
  ASSERT_TRUE(trainer.KnowsTheServer());
  // The clock goes faster than the answer may come.
  for (int look = 0; look < 20'000; ++look) {
    if (const auto ended = membership_->Look(); ended.has_value()) {
      EXPECT_STATUS(*ended, absl::StatusCode::kFailedPrecondition, "another run");
      return;
    }
    clock_.Advance(CoordinatorPlace::kStale);
    absl::SleepFor(absl::Milliseconds(1));
  }
  FAIL() << "it goes on";
}

TEST_F(MembershipTest, CredentialsThatCannotBeReadAreSaidAtOnceWhereNoFileMaySayBetter) {
  const rpc::ClientOptions mine = {.token_file = run_dir_ + "/token"};
  ASSERT_OK_AND_ASSIGN(const CoordinatorPlace address, CoordinatorPlace::Parse("127.0.0.1:7000", mine));
  EXPECT_STATUS(Membership::Join(address, nullptr, clock_), absl::StatusCode::kInvalidArgument, "/token");
}

}  // namespace
}  // namespace grpo
