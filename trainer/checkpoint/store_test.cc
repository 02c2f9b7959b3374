#include "trainer/checkpoint/store.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/failpoint_on.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckpointStoreTest : public ::testing::Test {
 protected:
  CheckpointStoreTest()
      : folder_(::testing::TempDir() + "/checkpoints_" +
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  // Without fsync, which would take most of a test's time.
  void Overwrite(const std::string& name, const std::string& content) const {
    std::ofstream(Path(name), std::ios::binary) << content;
  }

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

TEST_F(CheckpointStoreTest, AFileThatComesInPartsIsTheSameAsOneThatIsWhole) {
  const FileContent parts(FileContent::Write([](FileContent::Append append) -> absl::Status {
    for (const char* part : {"one", "", "two"}) RETURN_IF_ERROR(append(part));
    return absl::OkStatus();
  }));
  ASSERT_OK(store_.Save(1, {{"x", "onetwo"}}));
  ASSERT_OK(store_.Save(2, {{"x", parts}}));
  for (const char* file : {"x", "manifest.json"}) {
    ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(Path(absl::StrCat("step-000000000001/", file))));
    ASSERT_OK_AND_ASSIGN(const std::string in_parts, ReadFile(Path(absl::StrCat("step-000000000002/", file))));
    EXPECT_EQ(in_parts, whole);
  }
}

TEST_F(CheckpointStoreTest, APartThatCannotBeHadLeavesTheCheckpointsOfBefore) {
  ASSERT_OK(store_.Save(1, {{"x", "1"}}));
  const FileContent broken(FileContent::Write([](FileContent::Append append) -> absl::Status {
    RETURN_IF_ERROR(append("begun"));
    return absl::UnavailableError("the weights are gone");
  }));
  EXPECT_STATUS(store_.Save(2, {{"x", broken}}), absl::StatusCode::kUnavailable, "the weights are gone");
  EXPECT_THAT(store_.List(), ElementsAre("step-000000000001"));
  EXPECT_FALSE(fs::exists(Path("step-000000000002.tmp")));
}

TEST_F(CheckpointStoreTest, AFileThatChangesAfterItWasLoadedIsNoticed) {
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(1, {{"x", "1"}}));
  ASSERT_OK_AND_ASSIGN(const CheckpointStore::Loaded loaded, store_.Load(name));
  EXPECT_OK(loaded.Check());
  Overwrite(name + "/x", "");
  EXPECT_STATUS(loaded.Check(), absl::StatusCode::kDataLoss, "/x");
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

// Corruption of a real checkpoint's files is in corruption_test.cc; this is every single bit of a small manifest.
TEST_F(CheckpointStoreTest, NoBitOfAManifestFlipsUndetected) {
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(1, {{"a", "1"}, {"b", "2"}}));
  ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(Path(name + "/manifest.json")));
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string broken = whole;
    broken[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    Overwrite(name + "/manifest.json", broken);
    EXPECT_EQ(store_.Load(name).status().code(), absl::StatusCode::kDataLoss) << broken;
  }
  for (const std::string& harmless : {whole + "\n", " " + whole, whole.substr(0, whole.size() - 1)}) {
    Overwrite(name + "/manifest.json", harmless);
    EXPECT_STATUS(store_.Load(name), absl::StatusCode::kDataLoss, "manifest.json is not what its files say");
  }
}

TEST_F(CheckpointStoreTest, EachBadFileIsNamed) {
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(1, {{"a", "1"}, {"b", "2"}, {"c", "3"}}));
  EXPECT_THAT(store_.Problems(name), ElementsAre());
  ASSERT_OK(WriteFileSynced(Path(name + "/a"), "x"));
  fs::remove(Path(name + "/c"));
  EXPECT_THAT(store_.Problems(name),
              ElementsAre(HasSubstr("a has 1 bytes of SHA-256 2d71"), HasSubstr("c cannot be read")));
  EXPECT_STATUS(store_.Load(name), absl::StatusCode::kDataLoss, "; c cannot be read");
}

TEST_F(CheckpointStoreTest, LatestNamesWhatIsThere) {
  EXPECT_EQ(store_.Latest().status().code(), absl::StatusCode::kNotFound);
  ASSERT_OK_AND_ASSIGN(const std::string name, store_.Save(1, {{"a", "1"}}));
  ASSERT_OK_AND_ASSIGN(const std::string latest, store_.Latest());
  EXPECT_EQ(latest, name);
  for (const char* text : {"step-000000000002\n", "step-000000000001", "", "../x\n"}) {
    ASSERT_OK(WriteFileSynced(Path("LATEST"), text));
    EXPECT_STATUS(store_.Latest(), absl::StatusCode::kDataLoss, "LATEST");
  }
}

TEST_F(CheckpointStoreTest, ABrokenOneIsDeletedOnceTheRunHasGoneOnWithoutIt) {
  for (const int64_t sequence : {1, 2, 9}) ASSERT_OK(store_.Save(sequence, {{"x", std::to_string(sequence)}}));
  ASSERT_OK(WriteFileSynced(Path("step-000000000009/x"), "?"));
  ASSERT_OK(store_.Save(3, {{"x", "3"}}));
  EXPECT_THAT(store_.List(), ElementsAre("step-000000000002", "step-000000000003"));
}

TEST_F(CheckpointStoreTest, WhoHasLostTheFolderSavesNothingAndDeletesNothing) {
  const std::string run = folder_ + "/run", saves = run + "/checkpoints";
  ASSERT_OK_AND_ASSIGN(const auto guard, RunGuard::Enter({.run_dir = run, .run_id = "a", .resolved_yaml = ""}));
  CheckpointStore mine(saves, 1, guard.get());
  ASSERT_OK(mine.Save(9, {{"x", "mine"}}));
  fs::remove_all(run);
  ASSERT_OK_AND_ASSIGN(const auto other, RunGuard::Enter({.run_dir = run, .run_id = "b", .resolved_yaml = ""}));
  CheckpointStore theirs(saves, 1, other.get());
  ASSERT_OK(theirs.Save(1, {{"x", "theirs"}}));
  EXPECT_STATUS(mine.Save(10, {{"x", "mine"}}), absl::StatusCode::kFailedPrecondition, "run b");
  EXPECT_THAT(theirs.List(), ElementsAre("step-000000000001"));
  EXPECT_OK(theirs.Load("step-000000000001"));
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

TEST_F(CheckpointStoreTest, WhicheverSystemCallOfASaveFailsTheOneBeforeStaysAndTheNextTrySucceeds) {
  const std::string marks = folder_ + "_marks";
  const CheckpointFiles files = {{"a", "1"}, {"b", "2"}};
  for (const int64_t sequence : {1, 2}) ASSERT_OK(store_.Save(sequence, files));
  int64_t num_failed = 0;
  for (int64_t sequence = 3;; ++sequence) {
    fs::remove_all(marks);
    fs::create_directories(marks);
    const std::string oldest = store_.List().front(), before = store_.List().back();
    ArmFailpoints(absl::StrCat("files.*=error:EIO@", num_failed + 1), marks);
    const absl::StatusOr<std::string> saved = store_.Save(sequence, files);
    ArmFailpoints("", "");
    const absl::StatusOr<std::string> mark = ReadFile(marks + "/files.*.0");
    if (!mark.ok()) break;
    ++num_failed;
    // What cannot be deleted costs room, not the checkpoint.
    const bool deletion = absl::StrContains(*mark, oldest);
    EXPECT_EQ(saved.ok(), deletion) << *mark;
    if (!deletion) EXPECT_STATUS(saved, absl::StatusCode::kInternal, "Input/output error");
    EXPECT_OK(store_.Load(before)) << *mark;
    for (const std::string& name : store_.List()) EXPECT_OK(store_.Load(name)) << *mark;
    EXPECT_OK(store_.Latest()) << *mark;
    EXPECT_EQ(store_.Save(sequence, files).status(), absl::OkStatus()) << *mark;
    EXPECT_THAT(store_.List(), ElementsAre(before, absl::StrFormat("step-%012d", sequence))) << *mark;
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 3) << *mark;
  }
  // Three files and LATEST with open, write and fsync each, the folders, the renames, and the oldest one's end.
  EXPECT_GE(num_failed, 20);
}

}  // namespace
}  // namespace grpo
