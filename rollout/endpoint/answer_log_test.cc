#include "rollout/endpoint/answer_log.h"

#include <filesystem>

#include "common/failpoint_on.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

class AnswerLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    path_ = ::testing::TempDir() + "/" + name + "/answers/teacher.jsonl";
    std::filesystem::remove(path_);
  }

  static LoggedAnswer Of(int32_t first, const std::vector<std::string>& texts, double usd = 0.5) {
    LoggedAnswer answer;
    answer.first = first;
    for (const std::string& text : texts) {
      answer.choices.push_back({.text = text, .finish_reason = v1::FINISH_REASON_STOP});
    }
    answer.usage.set_num_requests(1);
    answer.usage.set_input_tokens(10);
    answer.usage.set_output_tokens(20);
    answer.usage.set_usd(usd);
    return answer;
  }

  static std::vector<std::string> Texts(const AnswerLog& log, const std::string& key) {
    const absl::StatusOr<std::vector<LoggedAnswer>> answers = log.Find(key);
    EXPECT_OK(answers);
    std::vector<std::string> texts;
    for (const LoggedAnswer& answer : *answers) {
      for (size_t i = 0; i < answer.choices.size(); ++i)
        texts.push_back(absl::StrCat(answer.first + static_cast<int32_t>(i), ":", answer.choices[i].text));
    }
    return texts;
  }

  std::string path_;
};

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(AnswerLogTest, WhatWasAppendedIsThereAfterAKillWithItsCost) {
  {
    ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
    EXPECT_THAT(Texts(*log, "a"), IsEmpty());
    ASSERT_OK(log->Append("a", Of(0, {"one", "two"})));
    ASSERT_OK(log->Append("b", Of(0, {"other"})));
    ASSERT_OK(log->Append("a", Of(2, {"\xFF\n\"three\""})));
    EXPECT_THAT(Texts(*log, "a"), ElementsAre("0:one", "1:two", "2:\xFF\n\"three\""));
  }
  ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
  EXPECT_THAT(Texts(*log, "a"), ElementsAre("0:one", "1:two", "2:\xFF\n\"three\""));
  EXPECT_THAT(Texts(*log, "b"), ElementsAre("0:other"));
  EXPECT_EQ((*log->Find("b"))[0].choices[0].finish_reason, v1::FINISH_REASON_STOP);
  EXPECT_EQ(log->spent().num_requests(), 3);
  EXPECT_EQ(log->spent().input_tokens(), 30);
  EXPECT_EQ(log->spent().output_tokens(), 60);
  EXPECT_DOUBLE_EQ(log->spent().usd(), 1.5);
}

TEST_F(AnswerLogTest, ATornLineIsPassedOverAndSpoilsNoOther) {
  {
    ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
    ASSERT_OK(log->Append("a", Of(0, {"one"})));
  }
  ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(path_));
  ASSERT_OK(WriteFileSynced(path_, whole + whole.substr(0, whole.size() / 2)));
  {
    ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
    EXPECT_THAT(Texts(*log, "a"), ElementsAre("0:one"));
    ASSERT_OK(log->Append("a", Of(1, {"two"})));
    EXPECT_THAT(Texts(*log, "a"), ElementsAre("0:one", "1:two"));
  }
  ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
  EXPECT_THAT(Texts(*log, "a"), ElementsAre("0:one", "1:two"));
  EXPECT_EQ(log->spent().num_requests(), 2);
}

TEST_F(AnswerLogTest, LinesOfAnotherProcessAreSeenWithTheNextOfOurs) {
  ASSERT_OK_AND_ASSIGN(const auto ours, AnswerLog::Open(path_));
  ASSERT_OK_AND_ASSIGN(const auto theirs, AnswerLog::Open(path_));
  ASSERT_OK(theirs->Append("a", Of(0, {"theirs"})));
  ASSERT_OK(ours->Append("b", Of(0, {"ours"})));
  EXPECT_THAT(Texts(*ours, "a"), ElementsAre("0:theirs"));
  EXPECT_EQ(ours->spent().num_requests(), 2);
}

TEST_F(AnswerLogTest, AnAnswerOfNoUseIsPaidForAllTheSame) {
  ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
  ASSERT_OK(log->Append("a", Of(0, {}, 0.25)));
  EXPECT_THAT(Texts(*log, "a"), IsEmpty());
  EXPECT_DOUBLE_EQ(log->spent().usd(), 0.25);
}

TEST_F(AnswerLogTest, AnAnswerThatIsWrittenButNotSyncedIsAnErrorAndCountsOnce) {
  const std::string marks = std::filesystem::path(path_).parent_path().string() + "/marks";
  std::filesystem::remove_all(marks);
  ASSERT_OK(MakeFolders(marks));
  ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
  ArmFailpoints("answers.fdatasync=error:EIO@1", marks);
  EXPECT_STATUS(log->Append("a", Of(0, {"one"})), absl::StatusCode::kInternal, "fdatasync");
  ArmFailpoints("", "");
  EXPECT_EQ(log->spent().num_requests(), 1);
  EXPECT_THAT(Texts(*log, "a"), ElementsAre("0:one"));
  ASSERT_OK(log->Append("a", Of(1, {"two"})));
  EXPECT_EQ(log->spent().num_requests(), 2);
  EXPECT_DOUBLE_EQ(log->spent().usd(), 1.0);
}

TEST_F(AnswerLogTest, LinesLongerThanAReadAreWhole) {
  const std::string text(3 << 20, 'x');
  {
    ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
    ASSERT_OK(log->Append("a", Of(0, {text})));
    ASSERT_OK(log->Append("b", Of(0, {"short"})));
  }
  ASSERT_OK_AND_ASSIGN(const auto log, AnswerLog::Open(path_));
  EXPECT_EQ((*log->Find("a"))[0].choices[0].text, text);
  EXPECT_THAT(Texts(*log, "b"), ElementsAre("0:short"));
}

TEST(AnswerKey, FollowsFromAllThatAnAnswerDependsOnAndNotFromTheAddress) {
  EndpointOptions endpoint;
  endpoint.url = "https://a";
  endpoint.model = "m";
  v1::SamplingParams sampling;
  sampling.set_num_completions(4);
  sampling.set_temperature(1);
  const std::string key = AnswerKey(endpoint, "p", sampling, 1);
  EndpointOptions moved = endpoint;
  moved.url = "https://b";
  EXPECT_EQ(AnswerKey(moved, "p", sampling, 1), key);
  EndpointOptions other = endpoint;
  other.model = "n";
  EXPECT_NE(AnswerKey(other, "p", sampling, 1), key);
  EXPECT_NE(AnswerKey(endpoint, "q", sampling, 1), key);
  EXPECT_NE(AnswerKey(endpoint, "p", sampling, 2), key);
  EXPECT_NE(AnswerKey(endpoint, "p", sampling, 1 + (uint64_t{1} << 31)), key) << "seeds are told apart by all bits";
  sampling.set_temperature(0.5);
  EXPECT_NE(AnswerKey(endpoint, "p", sampling, 1), key);
}

}  // namespace
}  // namespace grpo
