// The answer is JSON of a given shape (reward/json_schema.h). The answer is the content of the last whole <answer>
// pair, else all of the completion; one fence of Markdown (```json ... ```) around it is taken off.
#include "reward/json_schema.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

using nlohmann::json;

struct JsonSchemaOptions {
  AnswerOptions answer;
  std::string schema;
  int64_t max_bytes = 65536;

  template <class V>
  void Visit(V& v) {
    v("prefill", answer.prefill, {.help = "The prompt's template already ends in <think>."});
    v("schema", schema,
      {.help = "The schema as JSON text; a part of JSON Schema, reward/json_schema.h lists it.", .required = true});
    v("max_bytes", max_bytes, {.help = "A longer answer is over_budget.", .unit = "bytes", .min = 1, .max = 1 << 20});
  }
};

// Nesting that is followed; deeper text is no answer anybody asked for, and a danger to the stack.
constexpr int kMaxDepth = 64;

absl::string_view WithoutFence(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  absl::string_view inside = text;
  if (!absl::ConsumeSuffix(&inside, "```") || !absl::ConsumePrefix(&inside, "```")) return text;
  absl::ConsumePrefix(&inside, "json");
  return absl::StripAsciiWhitespace(inside);
}

class JsonSchemaRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const JsonSchemaOptions& options, const Section& section) {
    const json parsed = json::parse(options.schema, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded()) return SectionError(section, "schema", "is no JSON");
    absl::StatusOr<std::unique_ptr<JsonSchema>> schema = JsonSchema::Make(parsed);
    if (!schema.ok()) return SectionError(section, "schema", schema.status().message());
    return std::make_unique<JsonSchemaRule>(options, *std::move(schema));
  }
  JsonSchemaRule(const JsonSchemaOptions& options, std::unique_ptr<JsonSchema> schema)
      : options_(options), schema_(std::move(schema)) {}

  RuleResult Score(const RuleInput& input) const override {
    const Extraction extraction =
        ExtractAnswer(input.completion, {.boxes = false,
                                         .hash_lines = false,
                                         .phrases = false,
                                         .prefill = options_.answer.prefill || IsPrefilled(input.prompt)});
    const bool tags = absl::StrContains(input.completion, "answer>") || absl::StrContains(input.completion, "think>");
    if (extraction.outcome != v1::OUTCOME_SCORED && tags) return {.outcome = extraction.outcome};
    const std::string whole = extraction.Text();
    const absl::string_view text = WithoutFence(extraction.outcome == v1::OUTCOME_SCORED ? whole : input.completion);
    if (text.empty()) return {.outcome = v1::OUTCOME_NO_ANSWER};
    if (text.size() > static_cast<size_t>(options_.max_bytes)) {
      return {.outcome = v1::OUTCOME_OVER_BUDGET, .extracted = CutForLog(text), .decided_by = "longer than max_bytes"};
    }
    bool too_deep = false;
    const auto watch = [&](int depth, json::parse_event_t, json&) { return !(too_deep |= depth > kMaxDepth); };
    const json value = json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
    // The library takes a zero byte for the end of the text, whatever follows.
    const bool is_json = !value.is_discarded() && !absl::StrContains(text, '\0');
    const std::string why = too_deep ? "it is nested too deep" : !is_json ? "it is no JSON" : schema_->WhyNot(value);
    return {.value = why.empty() ? 1.0 : 0.0, .extracted = CutForLog(text), .decided_by = why};
  }

 private:
  const JsonSchemaOptions options_;
  const std::unique_ptr<JsonSchema> schema_;
};

}  // namespace

RewardRulePlugin RewardRule_json_schema() {
  return MakeRewardRulePlugin<JsonSchemaOptions, JsonSchemaRule>("1 when the answer is JSON that fits a schema.",
                                                                 /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
