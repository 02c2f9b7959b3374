#include "tools/grpoctl/records/completions.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/records/completions_format.h"
#include "trainer/records/completions_log.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CompletionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(dir_);
    ASSERT_OK(MakeFolders(dir_));
    ASSERT_OK_AND_ASSIGN(log_, CompletionsLog::Open(dir_ + "/" + kCompletionsFile, {}));
    log_->Append("tune", 1, {Group("p1", {{"one", 1}, {"two", -1}}), Group("p2", {{"three", 0}})});
    log_->Append("tune", 2, {Group("p1", {{"four", 1}})});
    log_->Append("measure", 1, {Group("p1", {{"\x1b[31m\xff", 0.5}})});
    ASSERT_OK_AND_ASSIGN(reader_, CompletionsReader::Open(dir_));
  }

  static ScoredGroup Group(const std::string& prompt_id, const std::vector<std::pair<std::string, double>>& samples) {
    ScoredGroup group;
    group.lease.mutable_prompt()->set_id(prompt_id);
    group.lease.mutable_sampling()->set_temperature(1);
    for (const auto& [text, reward] : samples) {
      v1::ScoredCompletion& scored = group.completions.emplace_back();
      scored.mutable_completion()->set_text(text);
      scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
      scored.mutable_score()->set_value(reward);
    }
    return group;
  }

  std::vector<std::string> Texts(const CompletionsQuery& query) const {
    const auto found = reader_->Select(query);
    EXPECT_OK(found.status());
    std::vector<std::string> texts;
    for (const StoredCompletion& stored : *found) texts.push_back(stored.completion);
    return texts;
  }

  const std::string dir_ = ::testing::TempDir() + "/completions_reader";
  std::unique_ptr<CompletionsLog> log_;
  std::unique_ptr<CompletionsReader> reader_;
};

TEST_F(CompletionsTest, EveryFilterRestricts) {
  EXPECT_EQ(Texts({}).size(), 5u);
  EXPECT_THAT(Texts({.stage = "tune", .step = 1}), ElementsAre("one", "two", "three"));
  EXPECT_THAT(Texts({.stage = "tune", .step = {}, .prompt_id = "p1"}), ElementsAre("one", "two", "four"));
  EXPECT_THAT(Texts({.stage = {}, .step = {}, .prompt_id = {}, .where = "reward < 0"}), ElementsAre("two"));
  EXPECT_THAT(Texts({.stage = "tune", .step = {}, .prompt_id = {}, .where = "", .limit = 2}),
              ElementsAre("one", "two"));
  EXPECT_THAT(Texts({.stage = "nowhere"}), IsEmpty());
}

TEST_F(CompletionsTest, SeesWhatTheRunWritesMeanwhile) {
  log_->Append("measure", 2, {Group("p9", {{"new", 1}})});
  EXPECT_THAT(Texts({.stage = "measure", .step = 2}), ElementsAre("new"));
}

TEST_F(CompletionsTest, AWhereCanOnlyReadWhatTheOtherFiltersLeave) {
  EXPECT_THAT(Texts({.stage = "measure", .step = {}, .prompt_id = {}, .where = "0) OR (1"}).size(), 1u);
  EXPECT_EQ(Texts({.stage = {}, .step = {}, .prompt_id = {}, .where = "1 -- all", .limit = 2}).size(), 2u);
}

TEST_F(CompletionsTest, AHostileWhereIsAnErrorAndChangesNothing) {
  for (const char* where : {
           "nonsense",
           "1); DELETE FROM samples; --",
           "1)\n; DROP VIEW completions; SELECT (1",
           "load_extension('x')",
           "EXISTS (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n WHERE i = 2)",
           "(SELECT * FROM pragma_user_version)",
           "1) --",
           "writefile('/tmp/x', completion)",
           "json(completion)",
           "(",
       }) {
    EXPECT_STATUS(reader_->Select({.stage = {}, .step = {}, .prompt_id = {}, .where = where}),
                  absl::StatusCode::kInvalidArgument, "prompt_id, prompt, answer");
  }
  EXPECT_EQ(Texts({}).size(), 5u);
}

TEST_F(CompletionsTest, ShowsHostileBytesAndGivesThemToPrograms) {
  ASSERT_OK_AND_ASSIGN(const auto found, reader_->Select({.stage = "measure"}));
  EXPECT_THAT(CompletionsText(found), HasSubstr("\\x1b[31m\\xff"));
  EXPECT_THAT(CompletionsText(found), HasSubstr("reward 0.5 (scored)"));
  const std::string line = CompletionsJson(found);
  EXPECT_THAT(line, HasSubstr("\"completion_b64\":\"G1szMW3/\""));
  EXPECT_THAT(line, HasSubstr("\"rules\":{}"));
  EXPECT_THAT(line, Not(HasSubstr("\"completion\"")));
}

TEST_F(CompletionsTest, SaysWhereThereAreNone) {
  EXPECT_STATUS(CompletionsReader::Open(dir_ + "/none"), absl::StatusCode::kNotFound, "none/completions.sqlite");
}

}  // namespace
}  // namespace grpo
