#include "trainer/stage/group_feed.h"

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "common/files.h"
#include "common/status_testing.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

CoordinatorOptions TestOptions() {
  CoordinatorOptions options;
  options.max_buffered_groups = 4;
  options.max_buffered_bytes = 1;
  options.max_quarantined_groups = 1;
  return options;
}

class GroupFeedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
    ASSERT_OK_AND_ASSIGN(quarantine_, QuarantineLog::Open(folder_ + "/quarantine.jsonl", /*resume=*/true));
    coordinator_.Publish(TestWeights(7));
    board_.Update([](v1::RunStatus& status) { status.set_state(v1::RUN_STATE_RUNNING); });
  }
  void TearDown() override {
    coordinator_.End();
    if (worker_.joinable()) worker_.join();
  }

  // A worker that dies of these groups and is started again, until the run ends.
  void StartWorker(const std::set<int64_t>& poison) {
    worker_ = std::thread([this, poison] {
      for (int attempt = 1;; ++attempt) {
        const std::string id = coordinator_.Register(TestWorker("rollout-0", attempt))->worker_id();
        for (bool alive = true; alive;) {
          v1::LeaseGroupsRequest request;
          request.set_worker_id(id);
          request.set_max_groups(3);
          request.set_max_completions(100);
          request.set_wait_ms(100);
          const auto response = coordinator_.LeaseGroups(request);
          ASSERT_OK(response);
          if (response->run_ended()) return;
          for (const v1::Lease& lease : response->leases()) {
            alive = poison.count(lease.key().group_index()) == 0;
            if (!alive) break;
            ASSERT_OK(coordinator_.Submit(TestHeader(lease, id), TestCompletions(lease)));
          }
        }
        ++num_deaths_;
      }
    });
  }

  absl::Status Poll() {
    return control_.Poll([] { return v1::CheckpointStatus(); });
  }

  static std::vector<int64_t> IndicesOf(const std::vector<ScoredGroup>& groups) {
    std::vector<int64_t> indices;
    for (const ScoredGroup& group : groups) indices.push_back(group.lease.key().group_index());
    return indices;
  }

  const std::string folder_ = ::testing::TempDir() + "/group_feed";
  GroupChannel Channel() {
    return {.options = options_,
            .coordinator = coordinator_,
            .quarantine = *quarantine_,
            .board = board_,
            .control = control_};
  }

  const CoordinatorOptions options_ = TestOptions();
  Coordinator coordinator_{options_, {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}};
  StatusBoard board_{v1::RunStatus(), &coordinator_};
  RunControl control_{&board_};
  std::unique_ptr<QuarantineLog> quarantine_;
  std::thread worker_;
  std::atomic<int> num_deaths_ = 0;
};

TEST_F(GroupFeedTest, SamplesAStepThatIsLargerThanTheBufferInParts) {
  StartWorker({});
  GroupFeed feed(Channel(), "rl", 0, 23, [](int64_t i) { return TestGroup("rl", i); });
  ASSERT_OK_AND_ASSIGN(const auto first, feed.Next(13, [this] { return Poll(); }));
  EXPECT_EQ(first.size(), 13u);
  ASSERT_OK_AND_ASSIGN(const auto rest, feed.Next(10, [this] { return Poll(); }));
  EXPECT_THAT(IndicesOf(rest), ::testing::ElementsAre(13, 14, 15, 16, 17, 18, 19, 20, 21, 22));
}

TEST_F(GroupFeedTest, RecordsWhatIsQuarantinedAndPausesTheRunBeyondItsBudget) {
  StartWorker({1, 5});
  std::string reason;
  std::thread user([&] {
    v1::RunStatus status = board_.Snapshot();
    while (status.state() != v1::RUN_STATE_PAUSED)
      status = board_.WaitForChange(status.sequence(), absl::InfiniteDuration());
    reason = status.state_reason();
    // As TrainerService's Resume does.
    control_.Resume();
  });
  GroupFeed feed(Channel(), "rl", 0, 8, [](int64_t i) { return TestGroup("rl", i); });
  const auto first = feed.Next(4, [this] { return Poll(); });
  const auto rest = feed.Next(4, [this] { return Poll(); });
  user.join();
  EXPECT_THAT(reason, ::testing::HasSubstr("2 groups killed their workers and are left out, "
                                           "coordinator.max_quarantined_groups is 1: read quarantine.jsonl"));
  ASSERT_OK(first);
  EXPECT_THAT(IndicesOf(*first), ::testing::ElementsAre(0, 2, 3));
  ASSERT_OK(rest);
  EXPECT_THAT(IndicesOf(*rest), ::testing::ElementsAre(4, 6, 7));
  ASSERT_OK_AND_ASSIGN(const std::string lines, ReadFile(folder_ + "/quarantine.jsonl"));
  EXPECT_THAT(lines, ::testing::StartsWith("{\"stage\":\"rl\",\"group_index\":1,"));
  EXPECT_EQ(num_deaths_, 4);
  EXPECT_EQ(quarantine_->entries().size(), 2u);
}

TEST_F(GroupFeedTest, ReturnsNothingWhenEveryGroupIsQuarantined) {
  coordinator_.Quarantine("rl", 0);
  coordinator_.Quarantine("rl", 1);
  GroupFeed feed(Channel(), "rl", 0, 2, [](int64_t i) { return TestGroup("rl", i); });
  ASSERT_OK_AND_ASSIGN(const auto groups, feed.Next(2, [this] { return Poll(); }));
  EXPECT_TRUE(groups.empty());
}

}  // namespace
}  // namespace grpo
