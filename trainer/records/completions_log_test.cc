#include "trainer/records/completions_log.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/sqlite.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/records/completions_format.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

ScoredGroup Group(int64_t group_index, const std::vector<std::string>& texts) {
  ScoredGroup group;
  group.lease.mutable_key()->set_group_index(group_index);
  group.lease.set_kind(v1::LEASE_KIND_TRAIN);
  group.lease.mutable_policy()->set_policy_id("base");
  group.lease.mutable_policy()->set_number(7);
  group.lease.mutable_sampling()->set_temperature(0.5);
  group.lease.mutable_prompt()->set_id("train/3");
  group.lease.mutable_prompt()->set_text("1+1=");
  group.lease.mutable_prompt()->set_answer("2");
  for (const std::string& text : texts) {
    v1::ScoredCompletion& scored = group.completions.emplace_back();
    scored.mutable_completion()->set_index(static_cast<int>(group.completions.size()) - 1);
    scored.mutable_completion()->set_text(text);
    for (const uint32_t id : {5, 6, 1}) scored.mutable_completion()->add_ids(id);
    scored.mutable_completion()->set_finish_reason(v1::FINISH_REASON_STOP);
    scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
    scored.mutable_score()->set_value(1.5);
    v1::RuleScore* rule = scored.mutable_score()->add_rules();
    rule->set_name("exact");
    rule->set_outcome(v1::OUTCOME_SCORED);
    rule->set_value(1);
    rule->set_weight(1.5);
    rule->set_extracted(text);
  }
  return group;
}

class CompletionsLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
  }

  // Rows of `sql`, cells parted by "|".
  std::vector<std::string> Rows(const std::string& sql) {
    auto database = SqliteDatabase::Open(path_, SqliteDatabase::Mode::kReadOnly);
    EXPECT_OK(database.status());
    auto statement = (*database)->Prepare(sql);
    EXPECT_OK(statement.status());
    std::vector<std::string> rows;
    for (absl::StatusOr<bool> row; (row = statement->Step()).ok() && *row;) {
      std::string& text = rows.emplace_back();
      for (int i = 0; i < statement->num_columns(); ++i) text += (i > 0 ? "|" : "") + statement->Bytes(i);
    }
    return rows;
  }

  const std::string folder_ = ::testing::TempDir() + "/completions";
  const std::string path_ = folder_ + "/" + kCompletionsFile;
};

TEST_F(CompletionsLogTest, HoldsWhatGroupsHoldAndCanBeReadMeanwhile) {
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
  log->Append("tune", 1, {Group(0, {"2", "3"}), Group(1, {"4"})});
  EXPECT_THAT(Rows("SELECT stage, step, group_index, sample_index, kind, prompt_id, prompt, answer, policy, "
                   "policy_number, temperature, completion, num_tokens, finish_reason, outcome, excluded, reward FROM "
                   "completions ORDER BY id"),
              ElementsAre("tune|1|0|0|train|train/3|1+1=|2|base|7|0.5|2|2|stop|scored|0|1.5",
                          "tune|1|0|1|train|train/3|1+1=|2|base|7|0.5|3|2|stop|scored|0|1.5",
                          "tune|1|1|0|train|train/3|1+1=|2|base|7|0.5|4|2|stop|scored|0|1.5"));
  EXPECT_THAT(Rows("SELECT rules FROM completions LIMIT 1"),
              ElementsAre(R"({"exact":{"outcome":"scored","value":1.0,"weight":1.5,"extracted":"2"}})"));
}

TEST_F(CompletionsLogTest, AResumedRunDropsTheRowsThatItWritesAgain) {
  {
    ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
    for (const char* stage : {"first", "tune", "last"}) {
      for (int64_t step : {1, 2, 3}) log->Append(stage, step, {Group(step, {"x", "y"})});
    }
  }
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {"first", "tune"}));
  log->Rewind("tune", 2);
  log->Append("tune", 3, {Group(9, {"z"})});
  EXPECT_THAT(Rows("SELECT id, stage, step, completion FROM completions ORDER BY id"),
              ElementsAre("1|first|1|x", "2|first|1|y", "3|first|2|x", "4|first|2|y", "5|first|3|x", "6|first|3|y",
                          "7|tune|1|x", "8|tune|1|y", "9|tune|2|x", "10|tune|2|y", "11|tune|3|z"));
}

TEST_F(CompletionsLogTest, ARunThatStartsAfreshKeepsNothing) {
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
    EXPECT_THAT(Rows("SELECT count(*) FROM samples"), ElementsAre("0"));
    log->Append("tune", 1, {Group(0, {"x"})});
  }
}

TEST_F(CompletionsLogTest, BytesComeBackAsTheyWere) {
  const std::vector<std::string> hostile = {"'); DROP TABLE samples; --", std::string("a\0b", 3),    "\xff\xfe",
                                            "\xe2\x80\xae rtl",           std::string(1 << 20, 'x'), ""};
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
  log->Append("tune", 1, {Group(0, hostile)});
  EXPECT_EQ(Rows("SELECT completion FROM completions ORDER BY sample_index"), hostile);
  EXPECT_THAT(Rows("SELECT typeof(completion) FROM completions ORDER BY sample_index"),
              ElementsAre("text", "blob", "blob", "text", "text", "text"));
}

TEST_F(CompletionsLogTest, ARunGoesOnWithoutACommitThatFails) {
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
  ASSERT_OK_AND_ASSIGN(auto other, SqliteDatabase::Open(path_, SqliteDatabase::Mode::kReadWrite));
  ASSERT_OK(other->Execute("BEGIN IMMEDIATE"));
  log->Append("tune", 1, {Group(0, {"lost"})});
  ASSERT_OK(other->Execute("COMMIT"));
  log->Append("tune", 2, {Group(1, {"kept"})});
  EXPECT_THAT(Rows("SELECT step, completion FROM completions"), ElementsAre("2|kept"));
}

TEST_F(CompletionsLogTest, ARewindThatFailsLeavesNoTransactionBehind) {
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
  log->Append("tune", 1, {Group(0, {"kept"})});
  ASSERT_OK_AND_ASSIGN(auto other, SqliteDatabase::Open(path_, SqliteDatabase::Mode::kReadWrite));
  ASSERT_OK(other->Execute("BEGIN IMMEDIATE"));
  log->Rewind("tune", 0);
  ASSERT_OK(other->Execute("COMMIT"));
  log->Append("tune", 2, {Group(1, {"kept, too"})});
  EXPECT_THAT(Rows("SELECT step, completion FROM completions ORDER BY step"), ElementsAre("1|kept", "2|kept, too"));
}

TEST_F(CompletionsLogTest, AFileThatIsDeletedIsBegunAnewWithOrWithoutItsJournals) {
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
  log->Append("tune", 1, {Group(0, {"lost"})});
  std::filesystem::remove(path_);
  log->Append("tune", 2, {Group(1, {"first"})});
  EXPECT_THAT(Rows("SELECT step, completion FROM completions"), ElementsAre("2|first"));
  std::filesystem::remove_all(folder_);
  ASSERT_OK(MakeFolders(folder_));
  log->Rewind("tune", 1);
  log->Append("tune", 3, {Group(2, {"second"})});
  EXPECT_THAT(Rows("SELECT step, completion FROM completions"), ElementsAre("3|second"));
  EXPECT_THAT(Rows("PRAGMA integrity_check"), ElementsAre("ok"));
}

TEST_F(CompletionsLogTest, AFileThatCannotBeBegunAnewIsTriedAgain) {
  ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(path_, {}));
  std::filesystem::remove_all(folder_);
  log->Append("tune", 1, {Group(0, {"lost"})});
  ASSERT_OK(MakeFolders(folder_));
  log->Append("tune", 2, {Group(1, {"kept"})});
  EXPECT_THAT(Rows("SELECT step, completion FROM completions"), ElementsAre("2|kept"));
}

TEST_F(CompletionsLogTest, SaysWhatItCannotOpen) {
  EXPECT_STATUS(CompletionsLog::Open(folder_ + "/none/x.sqlite", {}), absl::StatusCode::kInternal, "none");
  ASSERT_OK(WriteFileSynced(path_, std::string(4096, 'x')));
  EXPECT_STATUS(CompletionsLog::Open(path_, {}), absl::StatusCode::kDataLoss, "move the file away");
  std::filesystem::remove(path_);
  {
    ASSERT_OK_AND_ASSIGN(auto database, SqliteDatabase::Open(path_, SqliteDatabase::Mode::kReadWrite));
    ASSERT_OK(database->Execute("PRAGMA user_version=99"));
  }
  EXPECT_STATUS(CompletionsLog::Open(path_, {}), absl::StatusCode::kFailedPrecondition, "format 99");
}

}  // namespace
}  // namespace grpo
