#include "coordinator/reward_table.h"

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::RegisterRewardServerRequest Server(const std::string& name, const std::string& address) {
  v1::RegisterRewardServerRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_build(kBuild);
  request.set_name(name);
  request.set_address(address);
  return request;
}

absl::Duration At(double seconds) {
  return absl::Seconds(seconds);
}

TEST(RewardTable, TellsTheLiveOnesByName) {
  RewardTable table(/*heartbeat_interval=*/absl::Seconds(2));
  EXPECT_THAT(table.Addresses(At(0)), IsEmpty());
  EXPECT_TRUE(*table.Register(Server("reward-1", "b:2"), At(0)));
  EXPECT_TRUE(*table.Register(Server("reward-0", "a:1"), At(1)));
  EXPECT_FALSE(*table.Register(Server("reward-0", "a:1"), At(3)));
  EXPECT_THAT(table.Addresses(At(4)), ElementsAre("a:1", "b:2"));
  // Two intervals after its last call.
  EXPECT_THAT(table.Addresses(At(4.1)), ElementsAre("a:1"));
  EXPECT_TRUE(*table.Register(Server("reward-1", "b:2"), At(9)));
  EXPECT_THAT(table.Addresses(At(9)), ElementsAre("b:2"));
}

TEST(RewardTable, OneThatComesBackElsewhereTakesItsOwnPlace) {
  RewardTable table(absl::Seconds(2));
  ASSERT_OK(table.Register(Server("reward-0", "a:1"), At(0)));
  EXPECT_TRUE(*table.Register(Server("reward-0", "a:7"), At(1)));
  EXPECT_THAT(table.Addresses(At(1)), ElementsAre("a:7"));
  // The last word of the one before comes late.
  table.Remove("reward-0", "a:1");
  EXPECT_THAT(table.Addresses(At(1)), ElementsAre("a:7"));
  table.Remove("reward-0", "a:7");
  EXPECT_THAT(table.Addresses(At(1)), IsEmpty());
  EXPECT_THAT(table.Statuses(At(1)), IsEmpty());
}

TEST(RewardTable, StatusNamesTheLostOnesToo) {
  RewardTable table(absl::Seconds(2));
  v1::RegisterRewardServerRequest request = Server("reward-0", "a:1");
  request.add_profiles()->set_name("r1_zero");
  ASSERT_OK(table.Register(request, At(0)));
  ASSERT_OK(table.Register(Server("reward-1", "a:2"), At(9)));
  const std::vector<v1::RewardServerStatus> statuses = table.Statuses(At(10));
  ASSERT_EQ(statuses.size(), 2);
  EXPECT_EQ(statuses[0].name(), "reward-0");
  EXPECT_EQ(statuses[0].address(), "a:1");
  EXPECT_EQ(statuses[0].state(), v1::WORKER_STATE_LOST);
  EXPECT_EQ(statuses[0].last_seen_ms(), 10000);
  EXPECT_EQ(statuses[0].profiles(0).name(), "r1_zero");
  EXPECT_EQ(statuses[1].state(), v1::WORKER_STATE_ACTIVE);
}

TEST(RewardTable, RefusesWhatNoWorkerCouldReach) {
  RewardTable table(absl::Seconds(2));
  for (const char* address : {"", "a", ":7", "a:", "a:0", "a:70000"}) {
    EXPECT_STATUS(table.Register(Server("reward-0", address), At(0)), absl::StatusCode::kInvalidArgument, "address");
  }
  EXPECT_STATUS(table.Register(Server("", "a:1"), At(0)), absl::StatusCode::kInvalidArgument, "name");
  for (int i = 0; i < RewardTable::kMaxServers; ++i) {
    ASSERT_OK(table.Register(Server(absl::StrCat("reward-", i), "a:1"), At(0)));
  }
  EXPECT_STATUS(table.Register(Server("one more", "a:1"), At(0)), absl::StatusCode::kResourceExhausted, "1024");
  EXPECT_OK(table.Register(Server("reward-7", "a:2"), At(1)));
}

// --- Behind the coordinator ---

class RewardServersTest : public CoordinatorFixture {
 protected:
  std::vector<std::string> ToldTo(const std::string& worker_id) {
    v1::HeartbeatRequest request;
    request.set_worker_id(worker_id);
    const auto response = coordinator_.Heartbeat(request);
    EXPECT_OK(response);
    if (!response.ok()) return {};
    return {response->reward_servers().begin(), response->reward_servers().end()};
  }
};

TEST_F(RewardServersTest, WorkersHearOfThemWhenTheyRegisterAndWithEachHeartbeat) {
  const std::string early = Join("rollout-0");
  EXPECT_THAT(ToldTo(early), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const v1::RegisterRewardServerResponse response,
                       coordinator_.RegisterRewardServer(Server("reward-0", "a:1")));
  EXPECT_EQ(response.heartbeat_interval_ms(), 500);
  EXPECT_EQ(response.run_id(), "run-a");
  EXPECT_EQ(response.epoch(), 3);
  EXPECT_TRUE(response.is_new());
  EXPECT_FALSE(response.run_ended());
  EXPECT_FALSE(coordinator_.RegisterRewardServer(Server("reward-0", "a:1"))->is_new());
  EXPECT_THAT(ToldTo(early), ElementsAre("a:1"));
  ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse late, coordinator_.Register(TestWorker("rollout-1")));
  EXPECT_THAT(late.reward_servers(), ElementsAre("a:1"));

  v1::RegisterRewardServerRequest leaving = Server("reward-0", "a:1");
  leaving.set_leaving(true);
  ASSERT_OK(coordinator_.RegisterRewardServer(leaving));
  EXPECT_THAT(ToldTo(early), IsEmpty());
}

TEST_F(RewardServersTest, OneThatFallsSilentIsToldToNobody) {
  ASSERT_OK(coordinator_.RegisterRewardServer(Server("reward-0", "a:1")));
  const std::string worker = Join("rollout-0");
  clock_.Advance(absl::Seconds(5));
  EXPECT_THAT(ToldTo(worker), IsEmpty());
  ASSERT_EQ(coordinator_.RewardServers().size(), 1);
  EXPECT_EQ(coordinator_.RewardServers()[0].state(), v1::WORKER_STATE_LOST);
}

TEST_F(RewardServersTest, IsRefusedWithBothValuesWhenItBelongsElsewhere) {
  v1::RegisterRewardServerRequest stranger = Server("reward-0", "a:1");
  stranger.set_run_id("run-b");
  EXPECT_STATUS(coordinator_.RegisterRewardServer(stranger), absl::StatusCode::kFailedPrecondition,
                "run_id is run-b, this coordinator's is run-a");
  v1::RegisterRewardServerRequest old = Server("reward-0", "a:1");
  old.set_protocol_version(kProtocolVersion + 1);
  EXPECT_STATUS(coordinator_.RegisterRewardServer(old), absl::StatusCode::kFailedPrecondition, "protocol_version");
  EXPECT_THAT(coordinator_.RewardServers(), IsEmpty());
}

TEST_F(RewardServersTest, HearsThatTheRunHasEnded) {
  coordinator_.End();
  EXPECT_TRUE(coordinator_.RegisterRewardServer(Server("reward-0", "a:1"))->run_ended());
}

TEST_F(RewardServersTest, APromptWhoseWorkersDieWhileThereIsNoRewardServerIsNotBlamed) {
  ASSERT_OK(coordinator_.Offer(TestGroups("s", 0, 1)));
  for (int32_t attempt = 1; attempt <= 4; ++attempt) {
    const std::string worker = Join("rollout-0", attempt);
    const std::vector<v1::Lease> leases = Take(worker);
    ASSERT_EQ(leases.size(), 1) << "attempt " << attempt;
    Beat(worker, leases, "no reward server is registered yet", /*blocked_for_ms=*/1000);
    clock_.Advance(absl::Seconds(60));
  }
  EXPECT_THAT(coordinator_.TakeQuarantined(), IsEmpty());
  EXPECT_EQ(coordinator_.Counters().num_quarantined_total(), 0);
}

TEST(RewardTable, NamesAndProfilesAreShort) {
  RewardTable table(absl::Seconds(2));
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_STATUS(table.Register(Server("a\nb", "a:1"), At(0)), kInvalid, "the name of a reward server is \"a\\nb\"");
  EXPECT_STATUS(table.Register(Server("a", "\x1b:1"), At(0)), kInvalid, "the address of a reward server is");
  v1::RegisterRewardServerRequest request = Server("a", "a:1");
  request.add_profiles()->set_name("rl");
  EXPECT_OK(table.Register(request, At(0)));
  request.mutable_profiles(0)->set_sha256(std::string(257, 'f'));
  EXPECT_STATUS(table.Register(request, At(0)), kInvalid, "sha256 of one of a reward server's profiles has 257 bytes");
  request.mutable_profiles(0)->clear_name();
  EXPECT_STATUS(table.Register(request, At(0)), kInvalid, "name of one of a reward server's profiles has 0 bytes");
}

}  // namespace
}  // namespace grpo
