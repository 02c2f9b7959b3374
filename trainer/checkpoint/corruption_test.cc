// Bit rot: every file of a real checkpoint is damaged in many ways, and what is loaded is whole all the same.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "trainer/checkpoint/snapshot_testing.h"
#include "trainer/checkpoint/store.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

enum class Fault { kFlippedBit, kTruncation, kDeletion };

// The whole way from the folder to tensors, as a resuming trainer goes it; then back to bytes, to compare.
absl::StatusOr<std::map<std::string, std::string>> LoadAll(const CheckpointStore& store) {
  ASSIGN_OR_RETURN(std::optional<CheckpointStore::Loaded> loaded, store.LoadNewest());
  if (!loaded) return absl::NotFoundError("no checkpoint");
  ASSIGN_OR_RETURN(const Snapshot snapshot,
                   SnapshotFromFiles(std::make_shared<const CheckpointStore::Loaded>(*std::move(loaded))));
  return TextsOf(SnapshotToFiles(snapshot));
}

// Without fsync, which would take most of the test's time.
void Overwrite(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

void Damage(const std::string& path, const std::string& whole, Fault fault, Rng& rng) {
  std::string broken = whole;
  if (fault == Fault::kDeletion) {
    fs::remove(path);
    return;
  }
  if (fault == Fault::kTruncation) {
    broken.resize(rng.Below(static_cast<int64_t>(whole.size())));
  } else {
    broken[rng.Below(static_cast<int64_t>(whole.size()))] ^= static_cast<char>(1 << rng.Below(8));
  }
  Overwrite(path, broken);
}

class CorruptionTest : public ::testing::Test {
 protected:
  CorruptionTest()
      : folder_(::testing::TempDir() + "/corruption_" +
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
  }

  void SetUp() override {
    Snapshot snapshot = ExampleSnapshot();
    before_ = TextsOf(SnapshotToFiles(snapshot));
    ASSERT_OK(store_.Save(40, *SnapshotToFiles(snapshot)));
    snapshot.state.sequence = 50;
    snapshot.state.progress.step = 19;
    newest_ = TextsOf(SnapshotToFiles(snapshot));
    ASSERT_OK_AND_ASSIGN(newest_name_, store_.Save(50, *SnapshotToFiles(snapshot)));
    for (const auto& entry : fs::directory_iterator(folder_ + "/" + newest_name_)) files_.push_back(entry.path());
    std::sort(files_.begin(), files_.end());
  }

  const std::string folder_;
  CheckpointStore store_{folder_, 2};
  std::map<std::string, std::string> before_, newest_;
  std::string newest_name_;
  // Of the newest checkpoint, its manifest among them.
  std::vector<std::string> files_;
};

TEST_F(CorruptionTest, NoDamageToTheNewestGoesUndetectedAndTheOneBeforeIsUsed) {
  ASSERT_EQ(files_.size(), 7) << "state, configuration, optimizer, three of the policy, manifest";
  Rng rng(17);
  for (int i = 0; i < 210; ++i) {
    const std::string& path = files_[i % files_.size()];
    const Fault fault = i % 10 == 9 ? Fault::kDeletion : i % 3 == 2 ? Fault::kTruncation : Fault::kFlippedBit;
    ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(path));
    Damage(path, whole, fault, rng);
    EXPECT_EQ(store_.Load(newest_name_).status().code(), absl::StatusCode::kDataLoss) << path << " fault " << i;
    EXPECT_FALSE(store_.Problems(newest_name_).empty()) << path << " fault " << i;
    ASSERT_OK_AND_ASSIGN(const auto loaded, LoadAll(store_));
    EXPECT_EQ(loaded, before_) << path << " fault " << i;
    Overwrite(path, whole);
  }
  ASSERT_OK_AND_ASSIGN(const auto loaded, LoadAll(store_));
  EXPECT_EQ(loaded, newest_);
}

TEST_F(CorruptionTest, NothingDependsOnLatest) {
  const std::string path = folder_ + "/LATEST";
  ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(path));
  Rng rng(19);
  for (int i = 0; i < 60; ++i) {
    Damage(path, whole, static_cast<Fault>(i % 3), rng);
    const absl::StatusOr<std::string> latest = store_.Latest();
    EXPECT_FALSE(latest.ok() && *latest == newest_name_) << "fault " << i;
    ASSERT_OK_AND_ASSIGN(const auto loaded, LoadAll(store_));
    EXPECT_EQ(loaded, newest_) << "fault " << i;
  }
}

TEST_F(CorruptionTest, WhenAllAreDamagedNoneIsUsed) {
  for (const std::string& name : store_.List()) fs::resize_file(folder_ + "/" + name + "/state.json", 5);
  EXPECT_STATUS(LoadAll(store_), absl::StatusCode::kDataLoss, "none of the 2 checkpoints");
}

}  // namespace
}  // namespace grpo
