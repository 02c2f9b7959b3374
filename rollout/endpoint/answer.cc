#include "rollout/endpoint/answer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "rollout/endpoint/json_mend.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr size_t kMaxErrorBytes = 300;

absl::Status NoAnswer(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("the answer is not what this interface says: ", what));
}

// The value under `key`; null, too, when `object` is none.
const json& At(const json& object, const char* key) {
  static const json* const nothing = new json();
  if (!object.is_object()) return *nothing;
  const auto found = object.find(key);
  return found == object.end() ? *nothing : *found;
}

std::string Text(const json& value) {
  return value.is_string() ? value.get<std::string>() : "";
}

// The text of a message's content: a string, nothing, or a list of parts.
absl::StatusOr<std::string> ContentText(const json& content) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return NoAnswer("a message's content is neither a text nor a list");
  std::string text;
  for (const json& part : content) text += Text(At(part, "text"));
  return text;
}

v1::FinishReason FinishReasonOf(const std::string& reason) {
  if (reason == "stop" || reason == "eos") return v1::FINISH_REASON_STOP;
  if (reason == "length" || reason == "max_tokens") return v1::FINISH_REASON_LENGTH;
  if (reason == "content_filter") return v1::FINISH_REASON_CONTENT_FILTER;
  return v1::FINISH_REASON_OTHER;
}

// Reasoning between the policy's tags, then the answer.
std::string WithReasoning(const EndpointOptions& endpoint, absl::string_view prompt, const std::string& reasoning,
                          const std::string& content) {
  if (reasoning.empty()) return content;
  const bool opened =
      !endpoint.think_open.empty() && absl::EndsWith(absl::StripTrailingAsciiWhitespace(prompt), endpoint.think_open);
  return absl::StrCat(opened ? "" : endpoint.think_open, reasoning, endpoint.think_close,
                      absl::StartsWith(content, "\n") ? "" : "\n", content);
}

absl::StatusOr<std::string> ChoiceText(const EndpointOptions& endpoint, absl::string_view prompt, const json& choice) {
  if (endpoint.route == "completion") {
    const json& text = At(choice, "text");
    if (text.is_null() || text.is_string()) return Text(text);
    return NoAnswer("a choice's text is none");
  }
  const json& message = At(choice, "message");
  if (!message.is_object()) return NoAnswer("a choice has no message");
  ASSIGN_OR_RETURN(const std::string content, ContentText(At(message, "content")));
  std::string reasoning = Text(At(message, "reasoning_content"));
  if (reasoning.empty()) reasoning = Text(At(message, "reasoning"));
  return WithReasoning(endpoint, prompt, reasoning, content);
}

std::optional<TokenCount> UsageOf(const json& usage) {
  const json &input = At(usage, "prompt_tokens"), &output = At(usage, "completion_tokens");
  constexpr int64_t kMost = int64_t{1} << 40;
  for (const json& count : {input, output}) {
    if (!count.is_number_integer() || count.get<int64_t>() < 0 || count.get<int64_t>() > kMost) return std::nullopt;
  }
  return TokenCount{.input = input.get<int64_t>(), .output = output.get<int64_t>()};
}

// The object that says what is wrong, wherever the server puts it.
const json& ErrorOf(const json& body) {
  const json& error = At(body, "error");
  return error.is_null() ? body : error;
}

json Parsed(const std::string& body) {
  return json::parse(MendJson(body).text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

std::string RequestUrl(const EndpointOptions& endpoint) {
  return absl::StrCat(absl::StripSuffix(endpoint.url, "/"),
                      endpoint.route == "completion" ? "/completions" : "/chat/completions");
}

std::string RequestBody(const EndpointOptions& endpoint, absl::string_view prompt, const v1::SamplingParams& sampling,
                        int32_t count, uint64_t seed) {
  json body = {{"model", endpoint.model},
               {"max_tokens", sampling.max_new_tokens()},
               {"temperature", sampling.temperature()},
               {"seed", seed & 0x7fffffff}};
  if (endpoint.route == "completion") {
    body["prompt"] = std::string(prompt);
  } else {
    body["messages"] = json::array({{{"role", "user"}, {"content", std::string(prompt)}}});
  }
  if (count > 1) body["n"] = count;
  if (sampling.top_p() > 0 && sampling.top_p() < 1) body["top_p"] = sampling.top_p();
  if (sampling.top_k() > 0) body["top_k"] = sampling.top_k();
  if (sampling.min_p() > 0) body["min_p"] = sampling.min_p();
  for (const std::string& stop : sampling.stop()) body["stop"].push_back(stop);
  return body.dump();
}

absl::StatusOr<Answer> ParseAnswer(const EndpointOptions& endpoint, absl::string_view prompt, const std::string& body) {
  const MendedJson mended = MendJson(body);
  const json parsed = json::parse(mended.text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return NoAnswer("no JSON object");
  const json& choices = At(parsed, "choices");
  if (!choices.is_array() || choices.empty()) {
    return NoAnswer(At(parsed, "error").is_null() ? "no choices" : absl::StrCat("an error: ", ErrorText(body)));
  }
  Answer answer;
  answer.model = Text(At(parsed, "model"));
  answer.usage = UsageOf(At(parsed, "usage"));
  for (const json& choice : choices) {
    ASSIGN_OR_RETURN(std::string text, ChoiceText(endpoint, prompt, choice));
    if (mended.mended) text = RestoreBytes(text);
    answer.choices.push_back(
        {.text = std::move(text), .finish_reason = FinishReasonOf(Text(At(choice, "finish_reason")))});
  }
  return answer;
}

std::optional<TokenCount> ParseUsage(const std::string& body) {
  return UsageOf(At(Parsed(body), "usage"));
}

absl::Status CheckModel(const EndpointOptions& endpoint, const std::string& model) {
  if (model.empty() || model == endpoint.model) return absl::OkStatus();
  const std::vector<std::string>& others = endpoint.answers_as;
  if (std::find(others.begin(), others.end(), model) != others.end()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the server answered as model \"", model, "\", asked for was \"", endpoint.model,
                   "\": name the one that it serves in endpoint.model, or put this name into endpoint.answers_as if it "
                   "is the same model"));
}

std::string ErrorText(const std::string& body) {
  const json parsed = Parsed(body);
  const json& error = ErrorOf(parsed);
  std::string text = error.is_string() ? Text(error) : Text(At(error, "message"));
  if (text.empty()) text = Text(At(error, "detail"));
  if (text.empty()) text = body;
  std::string line;
  for (const char c : text.substr(0, kMaxErrorBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    line.push_back(byte < 0x80 && absl::ascii_isprint(byte) ? c : ' ');
  }
  absl::RemoveExtraAsciiWhitespace(&line);
  return line.empty() ? "nothing more" : line;
}

std::string ErrorCode(const std::string& body) {
  const json parsed = Parsed(body);
  const json& error = ErrorOf(parsed);
  const std::string code = Text(At(error, "code"));
  return code.empty() ? Text(At(error, "type")) : code;
}

}  // namespace grpo
