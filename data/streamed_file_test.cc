// Files of JSON lines that are not held in memory: the same items as of a file that is, and an index beside them.
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "data/line_index.h"
#include "data/shuffled_reader.h"
#include "data/sources.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kBadData = absl::StatusCode::kDataLoss;

class StreamedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& content) const { ASSERT_OK(WriteFileAtomically(path_, content)); }

  // `keys` is YAML in flow style.
  absl::StatusOr<std::unique_ptr<DataSource>> Open(const std::string& keys) const {
    const auto section = ParseConfigText(absl::StrCat("{path: traces.jsonl, ", keys, "}"), "test.yaml");
    if (!section.ok()) return section.status();
    return MakeDataSource({.source = "jsonl", .artifact = "", .options = *section}, folder_);
  }
  absl::StatusOr<std::unique_ptr<DataSource>> Streamed(const std::string& keys = "skip_bad_lines: true") const {
    return Open(absl::StrCat("stream_from_bytes: 0, ", keys));
  }

  static std::string Print(const DataItem& item) { return absl::StrCat(item.prompt.DebugString(), item.completion); }

  // Of many lengths, some of them more than once.
  static std::string Lines(int num_lines) {
    std::string lines;
    for (int i = 0; i < num_lines; ++i) {
      absl::StrAppend(&lines, "{\"problem\": \"", i, "?\", \"answer\": ", i, ", \"completion\": \"",
                      std::string(static_cast<size_t>(i * 7919 % 1009), 'x'), "\", \"level\": ", i % 5, "}\n");
    }
    return lines;
  }

  // The same items, in memory and not.
  void ExpectTheSame(const std::string& keys) const {
    ASSERT_OK_AND_ASSIGN(const auto held, Open(keys));
    ASSERT_OK_AND_ASSIGN(const auto streamed, Streamed(keys));
    EXPECT_TRUE(std::filesystem::exists(index_path_));
    // Once as it was just indexed, and once by what was kept.
    ASSERT_OK_AND_ASSIGN(const auto again, Streamed(keys));
    EXPECT_EQ(streamed->content_sha256(), held->content_sha256());
    EXPECT_EQ(again->content_sha256(), held->content_sha256());
    ASSERT_EQ(streamed->size(), held->size());
    ASSERT_EQ(again->size(), held->size());
    for (int64_t i = held->size() - 1; i >= 0; --i) {
      ASSERT_EQ(Print(streamed->At(i)), Print(held->At(i))) << i;
      ASSERT_EQ(Print(again->At(i)), Print(held->At(i))) << i;
    }
    EXPECT_OK(streamed->Check());
  }

  const std::string folder_ = ::testing::TempDir() + "/streamed_file_test";
  const std::string path_ = folder_ + "/traces.jsonl", index_path_ = path_ + ".index";
};

TEST_F(StreamedFileTest, HasTheItemsOfAFileThatIsHeldInMemory) {
  Write(Lines(300));
  ExpectTheSame("template: \"Q: {problem}\"");
  // The last line's end is missing.
  const std::string lines = Lines(20);
  Write(lines.substr(0, lines.size() - 1));
  ExpectTheSame("template: \"Q: {problem}\"");
}

TEST_F(StreamedFileTest, PassesOverWhatIsNoItemAndNamesLinesByTheirNumber) {
  Write(absl::StrCat("\xef\xbb\xbf\n  \n", Lines(3), "nonsense\n\n{\"problem\": \"\"}\n", "  ", Lines(1), "\r\n",
                     "{\"problem\": \"last\", \"answer\": 1}"));
  ExpectTheSame("skip_bad_lines: true");
  ASSERT_OK_AND_ASSIGN(const auto streamed, Streamed());
  ASSERT_EQ(streamed->size(), 5);
  EXPECT_EQ(streamed->At(0).prompt.id(), "line/3");
  EXPECT_EQ(streamed->At(3).prompt.id(), "line/9");
  EXPECT_EQ(streamed->At(4).prompt.id(), "line/11");
}

TEST_F(StreamedFileTest, LinesLongerThanABlockAreWhole) {
  // Blocks have 4 MiB.
  std::string lines;
  for (int i = 0; i < 7; ++i)
    absl::StrAppend(&lines, "{\"problem\": \"p", i, "\", \"answer\": 1, \"completion\": \"", std::string(1 << 20, 'y'),
                    "\"}\n");
  Write(lines);
  ExpectTheSame("max_line_bytes: 2000000");
}

TEST_F(StreamedFileTest, ChecksEveryLineAsAFileThatIsHeldInMemory) {
  Write(Lines(40) + "{\"problem\": oops}\n" + Lines(1));
  EXPECT_STATUS(Streamed("skip_bad_lines: false"), kBadData, "traces.jsonl:41: this line is not JSON: byte 13");
  EXPECT_FALSE(std::filesystem::exists(index_path_));
  Write("{\"problem\": \"p\", \"answer\": 1, \"id\": \"a\"}\n{\"problem\": \"q\", \"answer\": 1, \"id\": \"a\"}\n");
  EXPECT_STATUS(Streamed("skip_bad_lines: false"), kBadData, "the id \"a\" is that of line 1 already");
  EXPECT_STATUS(Streamed("skip_bad_lines: true, id_field: x, template: \"all {answer}\""), kInvalid,
                "makes the prompt of all 2 problems \"all 1\"");
  Write("nonsense\n");
  EXPECT_STATUS(Streamed(), kBadData, "holds no problem");
  Write(Lines(3));
  EXPECT_STATUS(Streamed("max_line_bytes: 20"), kBadData, "allowed are 20: raise max_line_bytes");
  Write("{" + std::string(9 << 20, ' '));
  EXPECT_STATUS(Streamed("max_line_bytes: 20"), kInvalid, "no end yet");
}

TEST_F(StreamedFileTest, PackedFilesAndArraysAreHeldInMemory) {
  Write("[{\"problem\": \"p\", \"answer\": 1}]");
  ASSERT_OK_AND_ASSIGN(const auto section, ParseConfigText("{path: traces.jsonl, stream_from_bytes: 0}", "test.yaml"));
  ASSERT_OK_AND_ASSIGN(const auto array,
                       MakeDataSource({.source = "file", .artifact = "", .options = section}, folder_));
  EXPECT_EQ(array->size(), 1);
  EXPECT_FALSE(std::filesystem::exists(index_path_));
}

TEST_F(StreamedFileTest, AnIndexOfAnotherFileOrReadingIsNotUsed) {
  Write(Lines(5));
  ASSERT_OK(Streamed());
  Write(Lines(6));
  ASSERT_OK_AND_ASSIGN(const auto longer, Streamed());
  EXPECT_EQ(longer->size(), 6);
  EXPECT_EQ(longer->content_sha256(), Sha256Hex(Lines(6)));
  ASSERT_OK_AND_ASSIGN(const auto other, Streamed("template: \"Q: {problem}\""));
  EXPECT_EQ(other->At(2).prompt.text(), "Q: 2?");
  // Damaged: it is made anew.
  ASSERT_OK_AND_ASSIGN(std::string damaged, ReadFile(index_path_));
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  ASSERT_OK(WriteFileAtomically(index_path_, damaged));
  ASSERT_OK_AND_ASSIGN(const auto mended, Streamed("template: \"Q: {problem}\""));
  EXPECT_EQ(mended->At(5).prompt.text(), "Q: 5?");
}

TEST_F(StreamedFileTest, AnIndexThatFitsIsReadInPlaceOfTheLines) {
  Write(Lines(5));
  ASSERT_OK(Streamed());
  ASSERT_OK_AND_ASSIGN(const std::string index, ReadFile(index_path_));
  const size_t at = index.find(Sha256Hex(Lines(5)));
  ASSERT_NE(at, std::string::npos);
  // What only the index can say.
  ASSERT_OK(WriteFileAtomically(index_path_, std::string(index).replace(at, 64, std::string(64, 'f'))));
  ASSERT_OK_AND_ASSIGN(const auto streamed, Streamed());
  EXPECT_EQ(streamed->content_sha256(), std::string(64, 'f'));
}

TEST_F(StreamedFileTest, AFileThatIsWrittenToMeanwhileIsAnErrorAndNoItem) {
  Write(Lines(50));
  ASSERT_OK_AND_ASSIGN(const auto streamed, Streamed());
  EXPECT_OK(streamed->Check());
  std::filesystem::resize_file(path_, 100);
  EXPECT_EQ(streamed->At(40).prompt.text(), "");
  EXPECT_EQ(streamed->At(40).prompt.id(), "line/41");
  EXPECT_STATUS(streamed->Check(), kBadData, "was written to while it was read");
}

TEST_F(StreamedFileTest, ChecksBeforeARunLookAtTheLongestAndAtSomeOfAll) {
  Write(Lines(3000));
  ASSERT_OK_AND_ASSIGN(const auto streamed, Streamed());
  const int64_t num_checked = streamed->num_checked(10);
  EXPECT_LT(num_checked, 3000);
  size_t longest = 0;
  for (int64_t i = 0; i < streamed->size(); ++i) longest = std::max(longest, streamed->At(i).completion.size());
  EXPECT_EQ(streamed->CheckedAt(0, 10).completion.size(), longest);
  EXPECT_EQ(streamed->CheckedAt(num_checked - 1, 10).prompt.id(), "line/3000");
  Write(Lines(30));
  ASSERT_OK_AND_ASSIGN(const auto small, Streamed());
  EXPECT_EQ(small->num_checked(10), 30);
  EXPECT_EQ(small->CheckedAt(7, 10).prompt.id(), "line/8");
}

TEST_F(StreamedFileTest, IsReadInASeededOrderFromAnyPosition) {
  Write(Lines(100));
  ASSERT_OK_AND_ASSIGN(const auto held, Open("skip_bad_lines: true"));
  ASSERT_OK_AND_ASSIGN(const auto streamed, Streamed());
  ShuffledReader expected(held.get(), 7);
  for (const int64_t position : {0, 1, 57, 99, 100, 250}) {
    ShuffledReader resumed(streamed.get(), 7);
    EXPECT_EQ(Print(resumed.At(position)), Print(expected.At(position))) << position;
  }
}

TEST(LineIndexTest, CountsTheLinesThatAreNoItems) {
  const LineIndex index = {.content_sha256 = "ab", .begins = {3, 10, 30, 31, 60}, .gaps = {{0, 1}, {2, 4}}};
  EXPECT_EQ(index.num_items(), 4);
  EXPECT_EQ(index.LineNumber(0), 2);
  EXPECT_EQ(index.LineNumber(1), 3);
  EXPECT_EQ(index.LineNumber(2), 7);
  EXPECT_EQ(index.LineNumber(3), 8);
  EXPECT_THAT(index.LongestItems(2), ElementsAre(3, 1));
  EXPECT_THAT(index.LongestItems(9), ElementsAre(3, 1, 0, 2));
  const std::string text = LineIndexText(index, "key");
  ASSERT_OK_AND_ASSIGN(const LineIndex again, ParseLineIndex(text, "key"));
  EXPECT_EQ(again.content_sha256, "ab");
  EXPECT_EQ(again.begins, index.begins);
  EXPECT_THAT(again.gaps, ElementsAre(Pair(0, 1), Pair(2, 4)));
  EXPECT_STATUS(ParseLineIndex(text, "other"), absl::StatusCode::kNotFound, "of another file");
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_STATUS(ParseLineIndex(text.substr(0, size), "key"), kBadData, "is ");
}

}  // namespace
}  // namespace grpo
