#include "rollout/endpoint/answer.h"

#include "common/status_testing.h"
#include "common/utf8.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

EndpointOptions Chat() {
  EndpointOptions endpoint;
  endpoint.url = "https://host/v1/";
  endpoint.model = "teacher";
  return endpoint;
}

EndpointOptions Completion() {
  EndpointOptions endpoint = Chat();
  endpoint.route = "completion";
  return endpoint;
}

v1::SamplingParams Sampling() {
  v1::SamplingParams sampling;
  sampling.set_num_completions(4);
  sampling.set_max_new_tokens(64);
  sampling.set_temperature(0.5);
  return sampling;
}

TEST(Request, SendsAChatMessageAndNoMoreKeysThanNeeded) {
  EXPECT_EQ(RequestUrl(Chat()), "https://host/v1/chat/completions");
  const json body = json::parse(RequestBody(Chat(), "2+2?", Sampling(), 1, 5));
  EXPECT_EQ(body, json::parse(R"({"model": "teacher", "max_tokens": 64, "temperature": 0.5, "seed": 5,
                                  "messages": [{"role": "user", "content": "2+2?"}]})"));
}

TEST(Request, SendsACompletionsPromptAndWhatCutsTheDistribution) {
  EXPECT_EQ(RequestUrl(Completion()), "https://host/v1/completions");
  v1::SamplingParams sampling = Sampling();
  sampling.set_top_p(0.5);
  sampling.set_top_k(7);
  sampling.set_min_p(0.25);
  sampling.add_stop("\nQ:");
  const json body = json::parse(RequestBody(Completion(), "Q: 2+2?\nA:", sampling, 3, (uint64_t{1} << 40) + 9));
  EXPECT_EQ(body, json::parse(R"({"model": "teacher", "max_tokens": 64, "temperature": 0.5, "seed": 9, "n": 3,
                                  "prompt": "Q: 2+2?\nA:", "top_p": 0.5, "top_k": 7, "min_p": 0.25,
                                  "stop": ["\nQ:"]})"));
}

TEST(Answer, HoldsEveryChoiceWithItsReasonAndWhatItCost) {
  ASSERT_OK_AND_ASSIGN(const Answer answer, ParseAnswer(Chat(), "2+2?", R"({"model": "teacher", "choices": [
      {"index": 0, "message": {"content": "four"}, "finish_reason": "stop"},
      {"index": 1, "message": {"content": "fou"}, "finish_reason": "length"},
      {"index": 2, "message": {"content": null}, "finish_reason": "content_filter"},
      {"index": 3, "message": {"content": [{"type": "text", "text": "fo"}, {"type": "text", "text": "ur"}]},
       "finish_reason": "tool_calls"},
      {"index": 4, "message": {"content": "x"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}})"));
  EXPECT_EQ(answer.model, "teacher");
  ASSERT_EQ(answer.choices.size(), 5u);
  EXPECT_EQ(answer.choices[0].text, "four");
  EXPECT_EQ(answer.choices[2].text, "");
  EXPECT_EQ(answer.choices[3].text, "four");
  const v1::FinishReason reasons[] = {v1::FINISH_REASON_STOP, v1::FINISH_REASON_LENGTH,
                                      v1::FINISH_REASON_CONTENT_FILTER, v1::FINISH_REASON_OTHER,
                                      v1::FINISH_REASON_OTHER};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(answer.choices[i].finish_reason, reasons[i]) << i;
  ASSERT_TRUE(answer.usage.has_value());
  EXPECT_EQ(answer.usage->input, 5);
  EXPECT_EQ(answer.usage->output, 9);
}

TEST(Answer, OfTheCompletionRouteIsAText) {
  ASSERT_OK_AND_ASSIGN(const Answer answer,
                       ParseAnswer(Completion(), "Q", R"({"choices": [{"text": " four", "finish_reason": "stop"}]})"));
  EXPECT_EQ(answer.choices[0].text, " four");
  EXPECT_EQ(answer.model, "");
  EXPECT_FALSE(answer.usage.has_value());
}

TEST(Answer, ReasoningStandsBetweenThePolicysTags) {
  const auto text = [](const std::string& prompt, const std::string& message, const EndpointOptions& endpoint) {
    const absl::StatusOr<Answer> answer =
        ParseAnswer(endpoint, prompt, R"({"choices": [{"message": )" + message + "}]}");
    return answer.ok() ? answer->choices[0].text : answer.status().ToString();
  };
  const std::string message = R"({"reasoning_content": "2 and 2", "content": "four"})";
  EXPECT_EQ(text("2+2?", message, Chat()), "<think>2 and 2</think>\nfour");
  EXPECT_EQ(text("2+2? <think>\n", message, Chat()), "2 and 2</think>\nfour");
  EXPECT_EQ(text("2+2?", R"({"reasoning": "2 and 2", "content": "\n\nfour"})", Chat()),
            "<think>2 and 2</think>\n\nfour");
  EXPECT_EQ(text("2+2?", R"({"reasoning_content": null, "content": "four"})", Chat()), "four");
  EndpointOptions other = Chat();
  other.think_open = "[THINK]";
  other.think_close = "[/THINK]";
  EXPECT_EQ(text("2+2?", message, other), "[THINK]2 and 2[/THINK]\nfour");
}

TEST(Answer, ATextThatWasCutInACharacterIsKeptAsItIs) {
  for (const std::string cut : {"4 \xF0\x9F\x98", "4 \\ud83d"}) {
    ASSERT_OK_AND_ASSIGN(const Answer answer, ParseAnswer(Chat(), "Q",
                                                          R"({"choices": [{"message": {"content": ")" + cut +
                                                              R"("}, "finish_reason": "length"}]})"));
    EXPECT_THAT(answer.choices[0].text, ::testing::StartsWith("4 "));
    EXPECT_FALSE(IsUtf8(answer.choices[0].text));
  }
}

TEST(Answer, WhatIsNoneIsUnavailableAndSaysWhy) {
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", ""), kUnavailable, "no JSON");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", "<html>"), kUnavailable, "no JSON");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", "[1]"), kUnavailable, "no JSON object");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", "{}"), kUnavailable, "no choices");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", R"({"choices": []})"), kUnavailable, "no choices");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", R"({"choices": [{"text": "x"}]})"), kUnavailable, "no message");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", R"({"choices": [{"message": {"content": 4}}]})"), kUnavailable, "content");
  EXPECT_STATUS(ParseAnswer(Completion(), "Q", R"({"choices": [{"text": 4}]})"), kUnavailable, "text");
  EXPECT_STATUS(ParseAnswer(Chat(), "Q", R"({"error": {"message": "overloaded"}})"), kUnavailable, "overloaded");
}

TEST(Answer, CountsThatMeanNothingAreNone) {
  for (const char* usage : {"null", "{}", R"({"prompt_tokens": -1, "completion_tokens": 2})",
                            R"({"prompt_tokens": 1.5, "completion_tokens": 2})",
                            R"({"prompt_tokens": 1, "completion_tokens": 18446744073709551615})"}) {
    ASSERT_OK_AND_ASSIGN(
        const Answer answer,
        ParseAnswer(Completion(), "Q", absl::StrCat(R"({"choices": [{"text": "x"}], "usage": )", usage, "}")));
    EXPECT_FALSE(answer.usage.has_value()) << usage;
  }
}

TEST(Model, AnotherIsRefusedByName) {
  EndpointOptions endpoint = Chat();
  EXPECT_OK(CheckModel(endpoint, "teacher"));
  EXPECT_OK(CheckModel(endpoint, ""));
  const absl::Status other = CheckModel(endpoint, "cheaper");
  EXPECT_STATUS(other, absl::StatusCode::kFailedPrecondition, "\"cheaper\"");
  EXPECT_THAT(std::string(other.message()), HasSubstr("\"teacher\""));
  endpoint.answers_as = {"teacher-2026-01-01"};
  EXPECT_OK(CheckModel(endpoint, "teacher-2026-01-01"));
}

TEST(Error, IsOneLineOfWhatTheServerSays) {
  EXPECT_EQ(ErrorText(R"({"error": {"message": "too\nlong", "code": "context"}})"), "too long");
  EXPECT_EQ(ErrorCode(R"({"error": {"message": "too long", "code": "context"}})"), "context");
  EXPECT_EQ(ErrorCode(R"({"error": {"type": "insufficient_quota", "code": null}})"), "insufficient_quota");
  EXPECT_EQ(ErrorText(R"({"error": "no model"})"), "no model");
  EXPECT_EQ(ErrorText(R"({"message": "gone"})"), "gone");
  EXPECT_EQ(ErrorText(R"({"detail": "gone"})"), "gone");
  EXPECT_EQ(ErrorText("<b>\xFF Bad\x1b[2J</b>"), "<b> Bad [2J</b>");
  EXPECT_EQ(ErrorText(""), "nothing more");
  EXPECT_EQ(ErrorCode("x"), "");
  EXPECT_LE(ErrorText(std::string(5000, 'x')).size(), 300u);
}

}  // namespace
}  // namespace grpo
