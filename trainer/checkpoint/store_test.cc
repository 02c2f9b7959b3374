#include "trainer/checkpoint/store.h"

#include <filesystem>

#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class CheckpointStoreTest : public ::testing::Test {
 protected:
  CheckpointStoreTest()
      : folder_(::testing::TempDir() + "/checkpoints_" +
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  const std::string folder_;
  CheckpointStore store_{folder_, 2};
};

TEST_F(CheckpointStoreTest, LoadsWhatWasSaved) {
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(7, {{"a.json", "{}"}, {"b.bin", std::string("\0\1", 2)}}));
  ASSERT_OK_AND_ASSIGN(const auto loaded, store_.LoadNewest());
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->name, name);
  EXPECT_EQ(loaded->sequence, 7);
  EXPECT_EQ(loaded->files.at("b.bin"), std::string("\0\1", 2));
  ASSERT_OK_AND_ASSIGN(const std::string latest, ReadFile(Path("LATEST")));
  EXPECT_EQ(latest, name + "\n");
}

TEST_F(CheckpointStoreTest, AFolderWithoutCheckpointsHoldsNone) {
  ASSERT_OK_AND_ASSIGN(const auto loaded, store_.LoadNewest());
  EXPECT_FALSE(loaded.has_value());
}

TEST_F(CheckpointStoreTest, KeepsTheNewestAndSweepsUnfinishedOnes) {
  fs::create_directories(Path("step-000000000009.tmp"));
  for (const int64_t sequence : {1, 2, 3}) ASSERT_OK(store_.Save(sequence, {{"x", std::to_string(sequence)}}));
  EXPECT_THAT(store_.List(), ElementsAre("step-000000000002", "step-000000000003"));
  EXPECT_FALSE(fs::exists(Path("step-000000000009.tmp")));
}

TEST_F(CheckpointStoreTest, SavingAStateAgainKeepsIt) {
  ASSERT_OK_AND_ASSIGN(const std::string first, store_.Save(4, {{"x", "1"}}));
  ASSERT_OK_AND_ASSIGN(const std::string again, store_.Save(4, {{"x", "1"}}));
  EXPECT_EQ(first, again);
  EXPECT_OK(store_.Load(again));
}

TEST_F(CheckpointStoreTest, NoFlippedBitAndNoTruncationGoesUndetected) {
  ASSERT_OK(store_.Save(1, {{"state.json", "{\"step\": 1}"}, {"weights", std::string(300, 'a')}}));
  ASSERT_OK_AND_ASSIGN(const std::string newest,
                       store_.Save(2, {{"state.json", "{\"step\": 2}"}, {"weights", std::string(300, 'b')}}));
  Rng rng(11);
  const std::vector<std::string> names = {"state.json", "weights", "manifest.json"};
  for (int i = 0; i < 300; ++i) {
    const std::string path = Path(newest + "/" + rng.Choice(names));
    ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(path));
    std::string broken = whole;
    if (i % 3 == 0) {
      broken.resize(rng.Below(static_cast<int64_t>(whole.size())));
    } else {
      broken[rng.Below(static_cast<int64_t>(whole.size()))] ^= static_cast<char>(1 << rng.Below(8));
    }
    ASSERT_OK(WriteFileSynced(path, broken));
    EXPECT_EQ(store_.Load(newest).status().code(), absl::StatusCode::kDataLoss) << path << " fault " << i;
    ASSERT_OK_AND_ASSIGN(const auto loaded, store_.LoadNewest());
    EXPECT_EQ(loaded.value().sequence, 1) << path << " fault " << i;
    ASSERT_OK(WriteFileSynced(path, whole));
  }
  EXPECT_OK(store_.Load(newest));
}

TEST_F(CheckpointStoreTest, WhenNoneIsWholeItSaysSo) {
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(1, {{"x", "1"}}));
  fs::remove(Path(name + "/x"));
  EXPECT_STATUS(store_.LoadNewest(), absl::StatusCode::kDataLoss, "none of the 1 checkpoints");
}

TEST_F(CheckpointStoreTest, AManifestCannotNameFilesElsewhere) {
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(1, {{"x", "1"}}));
  ASSERT_OK(WriteFileSynced(Path(name + "/manifest.json"),
                            R"({"format":1,"files":[{"name":"../LATEST","size":1,"sha256":""}]})"));
  EXPECT_STATUS(store_.Load(name), absl::StatusCode::kDataLoss, "../LATEST");
}

TEST_F(CheckpointStoreTest, AFailedSaveLeavesTheOneBeforeAndNothingElse) {
  ASSERT_OK(store_.Save(1, {{"x", "1"}}));
  // A name with a slash cannot be created: the write fails half way.
  EXPECT_FALSE(store_.Save(2, {{"a", "1"}, {"no/such/folder", "1"}}).ok());
  EXPECT_THAT(store_.List(), ElementsAre("step-000000000001"));
  EXPECT_FALSE(fs::exists(Path("step-000000000002.tmp")));
}

}  // namespace
}  // namespace grpo
