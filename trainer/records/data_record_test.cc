#include "trainer/records/data_record.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

class DataRecordTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(path_); }

  const std::string path_ = ::testing::TempDir() + "/data_record_test.json";
};

TEST_F(DataRecordTest, SaysWhatChangedAndWhoHadReadIt) {
  DataRecord record(path_, {{"a", "1"}, {"b", "2"}, {"c", "3"}});
  ASSERT_OK(record.MarkRead({"a", "generated"}, "first"));
  ASSERT_OK(record.MarkRead({"a", "b"}, "second"));
  ASSERT_OK_AND_ASSIGN(const std::optional<DataRecord> read, DataRecord::Read(path_));
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(read->Changes({{"a", "1"}, {"b", "2"}, {"c", "3"}}).empty());
  const std::vector<DataChange> changes = read->Changes({{"a", "9"}, {"b", "8"}});
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[0].data, "a");
  EXPECT_EQ(changes[0].read_by, "first");
  EXPECT_EQ(changes[1].read_by, "second");
  EXPECT_EQ(changes[1].old_sha256, "2");
  EXPECT_EQ(changes[1].new_sha256, "8");
  EXPECT_EQ(changes[2].read_by, "");
  EXPECT_EQ(changes[2].new_sha256, "");
}

TEST_F(DataRecordTest, KeepsBothHashesOfEveryChangeThatWasTaken) {
  DataRecord record(path_, {{"a", "1"}});
  record.Take(record.Changes({{"a", "2"}}));
  record.Take(record.Changes({{"a", "3"}}));
  ASSERT_OK(record.Write());
  ASSERT_OK_AND_ASSIGN(std::optional<DataRecord> read, DataRecord::Read(path_));
  EXPECT_TRUE(read->Changes({{"a", "3"}}).empty());
  ASSERT_OK(read->Write());
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path_));
  for (const char* part :
       {R"("old_sha256": "1")", R"("new_sha256": "2")", R"("old_sha256": "2")", R"("new_sha256": "3")"})
    EXPECT_THAT(text, ::testing::HasSubstr(part));
}

TEST_F(DataRecordTest, ReadsWhatItWroteAndNothingElse) {
  ASSERT_OK_AND_ASSIGN(const std::optional<DataRecord> none, DataRecord::Read(path_));
  EXPECT_FALSE(none.has_value());
  for (const char* text : {"", "{}", "[]", "nonsense", R"({"data": {"a": 1}, "changes": []})"}) {
    ASSERT_OK(WriteFileSynced(path_, text));
    EXPECT_STATUS(DataRecord::Read(path_), absl::StatusCode::kDataLoss, "data_record_test.json");
  }
}

}  // namespace
}  // namespace grpo
