#include "tools/launch/places.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

RunConfig SixteenProcesses() {
  RunConfig config;
  config.trainer.ranks = 4;
  config.rewards["rules"];
  config.rollout_worker.workers = 10;
  config.reward_server.servers = 2;
  return config;
}

TEST(Places, OneMachineHoldsAllUnlessTheConfigurationSaysOtherwise) {
  ASSERT_OK_AND_ASSIGN(const Places places, PlacesOf(SixteenProcesses()));
  EXPECT_EQ(places.num_hosts, 1);
  EXPECT_EQ(places.roles.at("trainer").per_host, 4);
  EXPECT_EQ(places.roles.at("rollout_worker").per_host, 10);
}

TEST(Places, RolesShareMachinesEachBeginningWhereTheOneBeforeEnds) {
  RunConfig config = SixteenProcesses();
  config.launch.trainer.nodes = 2;
  config.launch.rollout_worker = {.nodes = 5, .processes_per_node = 3};
  ASSERT_OK_AND_ASSIGN(const Places places, PlacesOf(config));
  EXPECT_EQ(places.num_hosts, 5);
  EXPECT_EQ(places.roles.at("trainer").first, 0);
  EXPECT_EQ(places.roles.at("trainer").per_host, 2);
  // Ten workers, three on a machine, are on four of them.
  EXPECT_EQ(places.roles.at("rollout_worker").first, 2);
  EXPECT_EQ(places.roles.at("reward_server").first, 1);
}

TEST(Places, HeterogeneousJobsHaveMachinesForEachRole) {
  RunConfig config = SixteenProcesses();
  config.launch.trainer.nodes = 2;
  config.launch.rollout_worker.nodes = 3;
  config.launch.slurm.heterogeneous = true;
  ASSERT_OK_AND_ASSIGN(const Places places, PlacesOf(config));
  EXPECT_EQ(places.roles.at("trainer").first, 0);
  EXPECT_EQ(places.roles.at("rollout_worker").first, 2);
  EXPECT_EQ(places.roles.at("reward_server").first, 5);
  EXPECT_EQ(places.num_hosts, 6);
}

TEST(Places, WithoutRewardsOnlyTheTrainerIsPlaced) {
  RunConfig config = SixteenProcesses();
  config.rewards.clear();
  config.launch.rollout_worker.nodes = 7;
  ASSERT_OK_AND_ASSIGN(const Places places, PlacesOf(config));
  EXPECT_EQ(places.num_hosts, 1);
}

TEST(Places, NodesThatDoNotHoldAllProcessesAreRefused) {
  RunConfig config = SixteenProcesses();
  config.launch.rollout_worker = {.nodes = 3, .processes_per_node = 3};
  EXPECT_STATUS(PlacesOf(config), absl::StatusCode::kInvalidArgument,
                "launch.rollout_worker: 3 nodes with at most 3 processes each do not hold the 10");
}

}  // namespace
}  // namespace grpo
