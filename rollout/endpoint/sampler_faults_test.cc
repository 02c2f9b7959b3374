// What becomes of a group that is refused, cancelled or blocked, and of an answer whose text is no UTF-8.
#include <sys/stat.h>

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/files.h"
#include "common/http/testing.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "rollout/endpoint/sampler_testing.h"

namespace grpo {
namespace {

using http::TestAnswer;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST_F(EndpointSamplerTest, AnAnswerOfAnotherModelIsRefusedByNameAndPaidFor) {
  Teacher teacher([](int64_t, const json& request) { return Teacher::Good(request, 4, "cheaper"); });
  const auto sampler = Make(teacher.url());
  ASSERT_OK(sampler->Add(Group(0)));
  const SampledGroup group = RunDry(*sampler).at(0);
  EXPECT_THAT(group.error, AllOf(HasSubstr("\"cheaper\""), HasSubstr("\"teacher\""), HasSubstr("policies.t.endpoint")));
  EXPECT_THAT(group.completions, IsEmpty());
  EXPECT_EQ(group.usage.output_tokens(), 20);
  EXPECT_EQ(teacher.requests().size(), 1u);
}

TEST_F(EndpointSamplerTest, AnAnswerThatCannotBeReadIsPaidForWhenItSaysWhatItCost) {
  const std::string usage = R"("usage": {"prompt_tokens": 7, "completion_tokens": 3})";
  const std::vector<std::string> bad = {R"({"choices": [], )" + usage + "}",
                                        R"({"choices": [{"finish_reason": "stop"}], )" + usage + "}",
                                        R"({"choices": []})", "<html>"};
  Teacher teacher([&](int64_t number, const json&) -> std::optional<TestAnswer> {
    if (number >= static_cast<int64_t>(bad.size())) return std::nullopt;
    return TestAnswer{.body = bad[static_cast<size_t>(number)]};
  });
  {
    const auto sampler = Make(teacher.url());
    ASSERT_OK(sampler->Add(Group(0)));
    const SampledGroup group = RunDry(*sampler).at(0);
    ExpectGood(group, 4);
    EXPECT_EQ(group.usage.num_requests(), 3) << "two that say what they cost, and the good one";
    EXPECT_EQ(group.usage.input_tokens(), 7 + 7 + 10);
    EXPECT_EQ(group.usage.output_tokens(), 3 + 3 + 20);
    EXPECT_EQ(sampler->num_tokens_generated(), 26);
  }
  EXPECT_EQ(teacher.requests().size(), 5u);
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.budget_tokens = 60; });
  ASSERT_OK(sampler->Add(Group(1)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_THAT(sampler->blocked_reason(), HasSubstr("50 of 60 tokens in 3 answers"));
}

TEST_F(EndpointSamplerTest, ARequestThatIsRefusedForGoodFailsItsGroupAlone) {
  Teacher teacher([](int64_t, const json& request) -> std::optional<TestAnswer> {
    if (request.at("messages").at(0).at("content") != "problem 1") return std::nullopt;
    return TestAnswer{.status = 400, .body = R"({"error": {"message": "the context has 8 tokens"}})"};
  });
  const auto sampler = Make(teacher.url());
  for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ExpectGood(groups.at(0), 4);
  EXPECT_THAT(groups.at(1).error, HasSubstr("the context has 8 tokens"));
  ExpectGood(groups.at(2), 4);
}

TEST_F(EndpointSamplerTest, ASpentBudgetBlocksUntilItIsRaised) {
  Teacher teacher;
  // A request may cost 9 + 256 + 4 x 100 = 665 tokens, and costs 30.
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.budget_tokens = 700; });
  for (int64_t id = 0; id < 5; ++id) ASSERT_OK(sampler->Add(Group(id)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_EQ(teacher.requests().size(), 2u) << "30 + 665 are within 700, 60 + 665 are not";
  EXPECT_THAT(sampler->blocked_reason(), AllOf(HasSubstr("60 of 700 tokens in 2 answers"), HasSubstr("budget.json")));
  EXPECT_FALSE(sampler->idle());
  ASSERT_OK(WriteFileAtomically(folder_ + "/t.budget.json", R"({"budget_tokens": 100000})"));
  EXPECT_EQ(RunDry(*sampler).size(), 5u);
  EXPECT_EQ(teacher.requests().size(), 5u);
  EXPECT_EQ(sampler->blocked_reason(), "");
}

TEST_F(EndpointSamplerTest, WhatAnEarlierStartSpentCounts) {
  Teacher teacher;
  const auto limited = [](EndpointOptions& endpoint) {
    endpoint.usd_per_million_output_tokens = 1e6;
    endpoint.budget_usd = 430;
  };
  {
    const auto sampler = Make(teacher.url(), limited);
    ASSERT_OK(sampler->Add(Group(0)));
    EXPECT_EQ(RunDry(*sampler).size(), 1u);
  }
  const auto sampler = Make(teacher.url(), limited);
  ASSERT_OK(sampler->Add(Group(0)));
  EXPECT_EQ(RunDry(*sampler).size(), 1u) << "it is paid for";
  ASSERT_OK(sampler->Add(Group(1)));
  ASSERT_OK(sampler->Add(Group(2)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_THAT(sampler->blocked_reason(), HasSubstr("40.0000 of 430 USD"));
}

TEST_F(EndpointSamplerTest, TheKeyIsSentAndOneThatIsRefusedBlocksUntilAnotherIsThere) {
  Teacher teacher;
  Teacher strict([](int64_t, const json&) -> std::optional<TestAnswer> {
    return TestAnswer{.status = 401, .body = R"({"error": {"message": "no such key: sk-old"}})"};
  });
  const std::string key_file = folder_ + "/key";
  ASSERT_OK(MakeFolders(folder_));
  ASSERT_OK(WriteFileSynced(key_file, "sk-old\n"));
  ASSERT_EQ(::chmod(key_file.c_str(), 0600), 0);
  const auto with_key = [&](EndpointOptions& endpoint) { endpoint.api_key_file = key_file; };
  {
    const auto sampler = Make(strict.url(), with_key);
    ASSERT_OK(sampler->Add(Group(0)));
    ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
    EXPECT_THAT(sampler->blocked_reason(), AllOf(HasSubstr("no such key: ***"), Not(HasSubstr("sk-old"))));
  }
  const auto sampler = Make(teacher.url(), with_key);
  ASSERT_OK(WriteFileSynced(key_file, "sk-new\n"));
  ASSERT_OK(sampler->Add(Group(0)));
  EXPECT_EQ(RunDry(*sampler).size(), 1u);
  EXPECT_EQ(teacher.raw().at(0).headers.at("authorization"), "Bearer sk-new");
}

TEST_F(EndpointSamplerTest, AServerThatIsAwayBlocksAndIsTriedOn) {
  std::atomic<bool> away = true;
  Teacher teacher([&](int64_t, const json&) -> std::optional<TestAnswer> {
    if (!away) return std::nullopt;
    return TestAnswer{.status = 502, .body = "bad gateway"};
  });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.max_retries = 2; });
  ASSERT_OK(sampler->Add(Group(0)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_GE(teacher.requests().size(), 3u);
  EXPECT_THAT(sampler->blocked_reason(), HasSubstr("status 502: bad gateway"));
  away = false;
  ExpectGood(RunDry(*sampler).at(0), 4);
  EXPECT_EQ(sampler->blocked_reason(), "");
}

TEST_F(EndpointSamplerTest, ACancelledGroupNeverComesAndItsRequestsAreNotBegun) {
  absl::Notification cancelled;
  Teacher teacher([&](int64_t number, const json&) -> std::optional<TestAnswer> {
    if (number > 0) return std::nullopt;
    cancelled.WaitForNotification();
    return TestAnswer{.status = 503};
  });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.concurrency = 1; });
  for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id)));
  ASSERT_TRUE(Wait([&] { return !teacher.requests().empty(); }));
  sampler->Cancel(0);
  sampler->Cancel(2);
  sampler->Cancel(12345);
  cancelled.Notify();
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ASSERT_EQ(groups.size(), 1u);
  ExpectGood(groups.at(1), 4);
  EXPECT_EQ(teacher.requests().size(), 2u);
}

TEST_F(EndpointSamplerTest, ATextThatIsNoUtf8IsKeptAsItIsAndLoggedLikeThat) {
  Teacher teacher([](int64_t, const json&) {
    return TestAnswer{
        .body = "{\"choices\": [{\"message\": {\"content\": \"cut \xF0\x9F\"}, \"finish_reason\": \"length\"}]}"};
  });
  for (int start = 0; start < 2; ++start) {
    const auto sampler = Make(teacher.url());
    ASSERT_OK(sampler->Add(Group(0, 1)));
    const SampledGroup group = RunDry(*sampler).at(0);
    EXPECT_EQ(group.completions.at(0).text(), "cut \xF0\x9F");
    EXPECT_EQ(group.completions.at(0).finish_reason(), v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(group.usage.output_tokens(), 6) << "bytes where the server counts nothing";
  }
  EXPECT_EQ(teacher.requests().size(), 1u);
}

TEST_F(EndpointSamplerTest, RefusesWhatCanNeverBeAskedAndSaysWhatToDo) {
  Teacher teacher;
  const auto sampler = Make(teacher.url());
  const auto invalid = absl::StatusCode::kInvalidArgument;
  GroupRequest request = Group(0);
  request.prompt = "";
  EXPECT_STATUS(sampler->Add(request), invalid, "the prompt is empty; give");
  request.prompt = "\xFF";
  EXPECT_STATUS(sampler->Add(request), invalid, "UTF-8");
  EXPECT_STATUS(sampler->Add(Group(0, 0)), invalid, "num_completions is 0");
  EXPECT_STATUS(sampler->Add(Group(0, 1, 0)), invalid, "at least 1");
  EXPECT_TRUE(sampler->idle());
}

}  // namespace
}  // namespace grpo
