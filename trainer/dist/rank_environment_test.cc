#include "trainer/dist/rank_environment.h"

#include <cstdlib>

#include "common/status_testing.h"

namespace grpo {
namespace {

constexpr const char* kVariables[] = {"RANK",
                                      "WORLD_SIZE",
                                      "LOCAL_RANK",
                                      "MASTER_ADDR",
                                      "MASTER_PORT",
                                      "TORCHELASTIC_USE_AGENT_STORE",
                                      "TORCHELASTIC_RESTART_COUNT"};

class RankEnvironmentTest : public ::testing::Test {
 protected:
  RankEnvironmentTest() {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  static void Set(const char* name, const char* value) { ::setenv(name, value, /*overwrite=*/1); }
};

TEST_F(RankEnvironmentTest, IsASingleRankWhenNothingIsSet) {
  ASSERT_OK_AND_ASSIGN(const RankEnvironment environment, ReadRankEnvironment());
  EXPECT_EQ(environment.rank, 0);
  EXPECT_EQ(environment.world_size, 1);
}

TEST_F(RankEnvironmentTest, ReadsWhatTorchrunSets) {
  Set("RANK", "3");
  Set("WORLD_SIZE", "4");
  Set("LOCAL_RANK", "1");
  Set("MASTER_ADDR", "127.0.0.1");
  Set("MASTER_PORT", "29500");
  Set("TORCHELASTIC_USE_AGENT_STORE", "True");
  Set("TORCHELASTIC_RESTART_COUNT", "2");
  ASSERT_OK_AND_ASSIGN(const RankEnvironment environment, ReadRankEnvironment());
  EXPECT_EQ(environment.rank, 3);
  EXPECT_EQ(environment.world_size, 4);
  EXPECT_EQ(environment.local_rank, 1);
  EXPECT_EQ(environment.master_addr, "127.0.0.1");
  EXPECT_EQ(environment.master_port, 29500);
  EXPECT_TRUE(environment.agent_store);
  EXPECT_EQ(environment.restart_count, 2);
}

TEST_F(RankEnvironmentTest, NamesWhatIsMissingOrOutOfRange) {
  Set("RANK", "0");
  EXPECT_STATUS(ReadRankEnvironment(), absl::StatusCode::kInvalidArgument, "WORLD_SIZE is not set");
  Set("WORLD_SIZE", "2");
  EXPECT_STATUS(ReadRankEnvironment(), absl::StatusCode::kInvalidArgument, "MASTER_PORT is not set");
  Set("MASTER_PORT", "29500");
  EXPECT_STATUS(ReadRankEnvironment(), absl::StatusCode::kInvalidArgument, "MASTER_ADDR is not set");
  Set("MASTER_ADDR", "127.0.0.1");
  Set("RANK", "2");
  EXPECT_STATUS(ReadRankEnvironment(), absl::StatusCode::kInvalidArgument, "RANK is '2', it must be 0 to 1");
  Set("RANK", "first");
  EXPECT_STATUS(ReadRankEnvironment(), absl::StatusCode::kInvalidArgument, "RANK is 'first'");
}

}  // namespace
}  // namespace grpo
