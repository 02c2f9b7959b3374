#include "rollout/endpoint/verdict.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using Kind = Verdict::Kind;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kGood[] = R"({"model": "m", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]})";

Verdict Of(int status, const std::string& body = "", std::map<std::string, std::string> headers = {}) {
  EndpointOptions endpoint;
  endpoint.model = "m";
  return Judge(endpoint, "p", "sk-1", http::Response{.status = status, .headers = std::move(headers), .body = body});
}

TEST(Verdict, AnAnswerIsOneAndAnotherModelsIsNot) {
  EXPECT_EQ(Of(200, kGood).kind, Kind::kAnswer);
  EXPECT_EQ(Of(200, kGood).answer.choices[0].text, "x");
  const Verdict other = Of(200, R"({"model": "n", "choices": [{"message": {"content": "x"}}]})");
  EXPECT_EQ(other.kind, Kind::kOtherModel);
  EXPECT_THAT(other.message, HasSubstr("\"n\""));
  EXPECT_EQ(Of(200, "<html>").kind, Kind::kRetry);
}

TEST(Verdict, AnAnswerThatIsNoneIsTriedAgainWithWhatItCost) {
  for (const std::string choices : {"[]", "null", R"([{"text": "x"}])", R"([{"message": {"content": 4}}])"}) {
    const Verdict verdict =
        Of(200, R"({"usage": {"prompt_tokens": 5, "completion_tokens": 9}, "choices": )" + choices + "}");
    EXPECT_EQ(verdict.kind, Kind::kRetry) << choices;
    ASSERT_TRUE(verdict.answer.usage.has_value()) << choices;
    EXPECT_EQ(verdict.answer.usage->input, 5);
    EXPECT_EQ(verdict.answer.usage->output, 9);
  }
  for (const char* body : {"", "<html>", "[1]", R"({"choices": []})", R"({"choices": [], "usage": {}})"}) {
    EXPECT_FALSE(Of(200, body).answer.usage.has_value()) << body;
  }
}

TEST(Verdict, StatusesSayWhatFollows) {
  for (const int status : {408, 409, 425, 429, 500, 502, 503, 504, 529}) EXPECT_EQ(Of(status).kind, Kind::kRetry);
  for (const int status : {401, 402, 403, 407}) EXPECT_EQ(Of(status).kind, Kind::kBlocked);
  for (const int status : {301, 400, 404, 413, 422}) EXPECT_EQ(Of(status).kind, Kind::kRefused);
  EXPECT_EQ(Of(429, R"({"error": {"code": "insufficient_quota"}})").kind, Kind::kBlocked);
  EXPECT_THAT(Of(307).message, HasSubstr("endpoint.url"));
  EXPECT_THAT(Of(401).message, HasSubstr("api_key_file"));
}

TEST(Verdict, ErrorsOfTheConnectionSayWhatFollows) {
  const auto of = [](const absl::Status& status) { return Judge({}, "p", "", status).kind; };
  EXPECT_EQ(of(absl::UnavailableError("gone")), Kind::kRetry);
  EXPECT_EQ(of(absl::DeadlineExceededError("slow")), Kind::kRetry);
  EXPECT_EQ(of(absl::FailedPreconditionError("certificate")), Kind::kBlocked);
  EXPECT_EQ(of(absl::ResourceExhaustedError("large")), Kind::kRefused);
  EXPECT_EQ(of(absl::InvalidArgumentError("url")), Kind::kRefused);
  EXPECT_EQ(of(absl::CancelledError("end")), Kind::kCancelled);
}

TEST(Verdict, TakesWhatRetryAfterAsksForAndNeverRepeatsTheKey) {
  EXPECT_EQ(Of(429, "", {{"retry-after", "3"}}).retry_after, absl::Seconds(3));
  EXPECT_FALSE(Of(429).retry_after.has_value());
  const Verdict verdict = Of(401, R"({"error": {"message": "the key sk-1 is wrong"}})");
  EXPECT_THAT(verdict.message, Not(HasSubstr("sk-1")));
  EXPECT_THAT(verdict.message, HasSubstr("the key *** is wrong"));
}

}  // namespace
}  // namespace grpo
