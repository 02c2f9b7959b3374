// Every rule besides math_answer and format_tags (profile_test.cc, math/) on cases worked out by hand.
#include <map>
#include <string>
#include <vector>

#include "common/status_testing.h"
#include "configs/load.h"
#include "google/protobuf/util/json_util.h"
#include "reward/rule.h"

namespace grpo {
namespace {

std::unique_ptr<Rule> Make(const std::string& rule, const std::string& options = "{}") {
  absl::StatusOr<Section> section = ParseConfigText(options, "test.yaml");
  EXPECT_OK(section.status());
  auto made = MakeRule(rule, section.ok() ? *section : Section());
  EXPECT_OK(made.status());
  return made.ok() ? *std::move(made) : nullptr;
}

absl::Status ErrorOf(const std::string& rule, const std::string& options) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigText(options, "test.yaml"));
  return MakeRule(rule, section).status();
}

v1::Prompt PromptOf(const std::string& answer, const std::string& metadata = "{}") {
  v1::Prompt prompt;
  prompt.set_answer(answer);
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(metadata, prompt.mutable_metadata()).ok());
  return prompt;
}

RuleResult ScoreText(const Rule& rule, const std::string& text, const v1::Prompt& prompt = {}) {
  return rule.Score({.completion = text, .prompt = prompt});
}

RuleResult ScoreTokens(const Rule& rule, size_t num_tokens, bool right = false) {
  const std::vector<uint32_t> ids(num_tokens, 1);
  v1::RuleScore basis;
  basis.set_outcome(v1::OUTCOME_SCORED);
  basis.set_value(right ? 1 : 0);
  const v1::Prompt prompt;
  return rule.Score({.completion = "text", .prompt = prompt, .ids = ids, .basis = &basis});
}

TEST(DecimalComma, IsReadWhereTheConfigurationNamesIt) {
  for (const char* type : {"math_answer", "numeric"}) {
    const auto rule = Make(type), with_comma = Make(type, "{decimal_comma: true}");
    for (const char* answer : {"1,5", "\\boxed{1,5}"}) {
      const std::string completion = std::string("<answer>") + answer + "</answer>";
      EXPECT_EQ(ScoreText(*rule, completion, PromptOf("1.5")).value, 0) << type;
      EXPECT_EQ(ScoreText(*with_comma, completion, PromptOf("1.5")).value, 1) << type;
      EXPECT_EQ(ScoreText(*with_comma, completion, PromptOf("1,5")).value, 1) << type;
      EXPECT_EQ(ScoreText(*with_comma, completion, PromptOf("5.1")).value, 0) << type;
      EXPECT_EQ(ScoreText(*with_comma, completion, PromptOf("15")).value, 0) << type;
    }
  }
}

TEST(TagCount, PaysAQuarterForEachTagThatIsThereOnce) {
  const auto rule = Make("tag_count"), bare = Make("tag_count", "{line_breaks: false}");
  EXPECT_EQ(ScoreText(*rule, "<think>\nr\n</think>\n<answer>\na\n</answer>").value, 1);
  EXPECT_EQ(ScoreText(*rule, "<think>\nr\n</think>\n").value, 0.5);
  EXPECT_EQ(ScoreText(*rule, "<think>r</think><answer>a</answer>").value, 0);
  EXPECT_EQ(ScoreText(*bare, "<think>r</think><answer>a</answer>").value, 1);
  EXPECT_EQ(ScoreText(*bare, "<think>r</think></think><answer>a</answer>").value, 0.75);
  v1::Prompt prefilled;
  prefilled.set_text("Q<think>");
  EXPECT_EQ(ScoreText(*bare, "r</think><answer>a</answer>", prefilled).value, 1);
  EXPECT_EQ(ScoreText(*bare, "<think>r</think><answer>a</answer>", prefilled).value, 0.75);
}

TEST(LanguageConsistency, IsTheShareOfWordsInTheLanguagesScript) {
  const auto english = Make("language_consistency"), chinese = Make("language_consistency", "{language: zh}");
  EXPECT_EQ(ScoreText(*english, "so x is twelve").value, 1);
  EXPECT_EQ(ScoreText(*english, "one \xd0\xb4\xd0\xb2\xd0\xb0 three four").value, 0.75);
  // Each ideograph is a word.
  EXPECT_EQ(ScoreText(*english, "two \xe4\xb8\xad\xe6\x96\x87 words x").value, 0.5);
  EXPECT_EQ(ScoreText(*chinese, "\xe4\xb8\xad\xe6\x96\x87 \\frac{1}{2} <think> x word").value, 2.0 / 3);
  EXPECT_EQ(ScoreText(*english, "12 + 3 = x").value, 0);
  EXPECT_EQ(ScoreText(*english, "").value, 0);
  EXPECT_EQ(ScoreText(*english, "caf\xc3\xa9 \xff\xfe word").value, 1);
}

TEST(ReasoningSteps, CountsUpToTheStepsAskedFor) {
  const auto rule = Make("reasoning_steps"), two = Make("reasoning_steps", "{steps: 2}");
  EXPECT_EQ(ScoreText(*rule, "").value, 0);
  EXPECT_EQ(ScoreText(*rule, "First, a. Next, b.").value, 2.0 / 3);
  EXPECT_EQ(ScoreText(*rule, "1. a\n2. b").value, 1.0 / 3);
  EXPECT_EQ(ScoreText(*rule, "Step 1: a\n- b\n* c\nFinally, d").value, 1);
  EXPECT_EQ(ScoreText(*two, "First, a. Next, b.").value, 1);
}

TEST(RepetitionPenalty, IsTheShareOfNgramsThatWereThereBefore) {
  const v1::Prompt prompt;
  const auto score = [&](const std::string& options, const std::vector<uint32_t>& ids, const std::string& text = "t") {
    return Make("repetition_penalty", options)->Score({.completion = text, .prompt = prompt, .ids = ids}).value;
  };
  EXPECT_EQ(score("{ngram: 2}", {1, 2, 3, 4}), 0);
  EXPECT_EQ(score("{ngram: 2}", {5, 5, 5, 5, 5}), -0.75);
  EXPECT_EQ(score("{ngram: 3}", {5, 5}), 0);
  EXPECT_EQ(score("{ngram: 1, max_penalty: -2}", {1, 2, 1, 2}), -1);
  EXPECT_EQ(score("{ngram: 2, unit: words}", {}, "A b a B a b"), -0.6);
}

TEST(SoftOverlong, IsDaposFormula) {
  const auto rule = Make("soft_overlong", "{max_tokens: 100, cache_tokens: 20}");
  for (const auto& [tokens, value] :
       std::map<int, double>{{0, 0}, {80, 0}, {81, -0.05}, {90, -0.5}, {100, -1}, {101, -1}}) {
    EXPECT_EQ(ScoreTokens(*rule, tokens).value, value) << tokens;
  }
  EXPECT_STATUS(ErrorOf("soft_overlong", "{max_tokens: 10, cache_tokens: 20}"), absl::StatusCode::kInvalidArgument,
                "cache_tokens: 20 is more than max_tokens 10");
}

TEST(CosineLength, PaysShortRightAndLongWrongCompletions) {
  const auto rule = Make("cosine_length", "{max_tokens: 100}");
  EXPECT_EQ(ScoreTokens(*rule, 0, true).value, 1);
  EXPECT_NEAR(ScoreTokens(*rule, 50, true).value, 0.75, 1e-12);
  EXPECT_NEAR(ScoreTokens(*rule, 100, true).value, 0.5, 1e-12);
  EXPECT_NEAR(ScoreTokens(*rule, 150, true).value, 0.5, 1e-12);
  EXPECT_EQ(ScoreTokens(*rule, 0, false).value, -1);
  EXPECT_NEAR(ScoreTokens(*rule, 50, false).value, -0.75, 1e-12);
  EXPECT_NEAR(ScoreTokens(*rule, 1000, false).value, -0.5, 1e-12);
}

TEST(GroupLength, ComparesWithTheGroupAndNeverPaysAWrongOne) {
  const auto rule = Make("group_length");
  const v1::Prompt prompt;
  const std::vector<uint32_t> ids(30);
  std::vector<v1::RuleScore> basis(4);
  const auto judge = [&](int i, v1::Outcome outcome, double value) {
    basis[i].set_outcome(outcome);
    basis[i].set_value(value);
  };
  judge(0, v1::OUTCOME_SCORED, 1);
  judge(1, v1::OUTCOME_NO_ANSWER, 0);
  judge(2, v1::OUTCOME_SCORED, 1);
  judge(3, v1::OUTCOME_DEADLINE, 0);
  std::vector<RuleInput> group;
  for (const int i : {0, 1, 2, 3}) {
    group.push_back({.completion = "t", .prompt = prompt, .ids = absl::MakeConstSpan(ids).first(10 * i % 30 + 10)});
    group[i].basis = &basis[i];
  }
  // Lengths 10, 20, 30 and one that is not judged.
  const std::vector<RuleResult> results = rule->ScoreGroup(group);
  EXPECT_EQ(results[0].value, 0.5);
  EXPECT_EQ(results[1].value, 0);
  EXPECT_EQ(results[2].value, -0.5);
  EXPECT_EQ(results[3].outcome, v1::OUTCOME_DEADLINE);
  EXPECT_EQ(rule->ScoreGroup(absl::MakeConstSpan(group).first(1))[0].value, 0);
}

TEST(Exact, IsTheSameText) {
  const auto rule = Make("exact"), lenient = Make("exact", "{ignore_case: true}");
  const v1::Prompt prompt = PromptOf("New  York");
  EXPECT_EQ(ScoreText(*rule, "<answer> New York </answer>", prompt).value, 1);
  EXPECT_EQ(ScoreText(*rule, "<answer>new york</answer>", prompt).value, 0);
  EXPECT_EQ(ScoreText(*lenient, "<answer>new york</answer>", prompt).value, 1);
  EXPECT_EQ(ScoreText(*rule, "New York", prompt).outcome, v1::OUTCOME_NO_ANSWER);
}

TEST(Numeric, IsWithinTheTolerance) {
  const auto rule = Make("numeric", "{absolute: 0.5, relative: 0}");
  const auto score = [&](const std::string& answer, const std::string& reference) {
    return ScoreText(*rule, "<answer>" + answer + "</answer>", PromptOf(reference)).value;
  };
  EXPECT_EQ(score("12.5", "12"), 1);
  EXPECT_EQ(score("12.51", "12"), 0);
  EXPECT_EQ(score("-$1,234", "-1234.2"), 1);
  EXPECT_EQ(score("1e3", "1000"), 1);
  // Neither a list nor words are a number.
  EXPECT_EQ(score("1,2", "12"), 0);
  EXPECT_EQ(score("12 or 13", "12"), 0);
  EXPECT_EQ(score("nan", "12"), 0);
  EXPECT_EQ(score("inf", "12"), 0);
  EXPECT_EQ(ScoreText(*rule, "<answer>1</answer>", PromptOf("twelve")).outcome, v1::OUTCOME_REFERENCE_UNPARSABLE);
  EXPECT_STATUS(rule->CheckReference(PromptOf("twelve")), absl::StatusCode::kInvalidArgument,
                "\"twelve\" is no number");
  const auto pattern = Make("numeric", "{pattern: 'temp=(\\S+)'}");
  EXPECT_EQ(ScoreText(*pattern, "x temp=12 y", PromptOf("12")).value, 1);
  EXPECT_EQ(ScoreText(*pattern, "x", PromptOf("12")).outcome, v1::OUTCOME_NO_ANSWER);
  EXPECT_STATUS(ErrorOf("numeric", "{pattern: 'a'}"), absl::StatusCode::kInvalidArgument, "has no group");
}

TEST(MultipleChoice, IsOneLetter) {
  const auto rule = Make("multiple_choice");
  for (const std::string right :
       {"B", "b", "(B)", "B.", "B) Paris", "(B) Paris", "B: Paris", "\\text{B}", "B Paris", "B. Vitamin C"}) {
    EXPECT_EQ(ScoreText(*rule, "<answer>" + right + "</answer>", PromptOf("B")).value, 1) << right;
  }
  for (const std::string wrong :
       {"A", "A or B", "B or C", "B, C", "B and (C)", "B/C", "Bern", "F", "all", "", "B. or C"}) {
    EXPECT_EQ(ScoreText(*rule, "<answer>" + wrong + "</answer>", PromptOf("B")).value, 0) << wrong;
  }
  EXPECT_EQ(ScoreText(*rule, "\\boxed{A} or \\boxed{B}", PromptOf("(B)")).value, 0);
  EXPECT_STATUS(rule->CheckReference(PromptOf("F")), absl::StatusCode::kInvalidArgument,
                "not one of the choices ABCDE");
  EXPECT_STATUS(ErrorOf("multiple_choice", "{choices: A1}"), absl::StatusCode::kInvalidArgument, "something else than");
}

TEST(Gsm8kStrict, IsTheLastMarkedNumberToTheLetter) {
  const auto rule = Make("gsm8k_strict");
  const v1::Prompt prompt = PromptOf("He pays 12*6=$72. #### 1,072");
  EXPECT_EQ(ScoreText(*rule, "#### 3 then #### 1072", prompt).value, 1);
  EXPECT_EQ(ScoreText(*rule, "#### 1,072" + std::string(1000, 'x'), prompt).value, 1);
  EXPECT_EQ(ScoreText(*rule, "\xff\n#### 1072", prompt).value, 1);
  EXPECT_EQ(ScoreText(*rule, "#### 1072 #### 3", prompt).value, 0);
  EXPECT_EQ(ScoreText(*rule, "#### 1072.0", prompt).value, 0);
  EXPECT_EQ(ScoreText(*rule, "1072", prompt).outcome, v1::OUTCOME_NO_ANSWER);
  EXPECT_STATUS(rule->CheckReference(PromptOf(" ")), absl::StatusCode::kInvalidArgument, "is empty");
}

TEST(Countdown, UsesEachNumberOnceAndReachesTheTarget) {
  const auto rule = Make("countdown");
  const v1::Prompt prompt = PromptOf("", R"({"numbers": [19, 36, 55, 7], "target": 65})");
  const auto score = [&](const std::string& answer) {
    return ScoreText(*rule, "<answer>" + answer + "</answer>", prompt).value;
  };
  EXPECT_EQ(score("55 + 36 - 7 - 19"), 1);
  EXPECT_EQ(score("(55+36)-(7+19)"), 1);
  EXPECT_EQ(score("-19-7+36+55"), 1);
  for (const std::string wrong : {"55+36-7", "55+36-7-19+0", "55+36+7-19", "55+36-7-19=65", "65", "5 5+36-7-19",
                                  "55+36-7-19)", "(55+36-7-19", "55**36", "55/(7-7)", "x", "55//36"}) {
    EXPECT_EQ(score(wrong), 0.1) << wrong;
  }
  EXPECT_EQ(score(std::string(900, '(')), 0.1);
  EXPECT_EQ(score(std::string(100000, '-') + "1"), 0.1);
  EXPECT_EQ(ScoreText(*rule, "55 + 36 - 7 - 19", prompt).outcome, v1::OUTCOME_NO_ANSWER);
  // Fractions on the way are exact: 8 / (3 - 8 / 3) = 24.
  EXPECT_EQ(ScoreText(*rule, "\\boxed{8/(3-8/3)}", PromptOf("24", R"({"numbers": [3, 3, 8, 8]})")).value, 1);
  EXPECT_STATUS(rule->CheckReference(PromptOf("24")), absl::StatusCode::kInvalidArgument, "no `numbers`");
  EXPECT_STATUS(rule->CheckReference(PromptOf("x", R"({"numbers": [1]})")), absl::StatusCode::kInvalidArgument,
                "neither `target`");
  EXPECT_STATUS(rule->CheckReference(PromptOf("1", R"({"numbers": [1.5]})")), absl::StatusCode::kInvalidArgument,
                "whole numbers");
}

TEST(JsonSchema, IsTheShapeAskedFor) {
  const auto rule = Make("json_schema", R"({schema: '{"type": "object", "required": ["name", "age"],
    "additionalProperties": false, "properties": {"name": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
    "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150}, "tags": {"type": "array", "maxItems": 2,
    "items": {"enum": ["a", "b"]}}, "x": {"anyOf": [{"const": 1}, {"type": ["null", "boolean"]}]}}}'})");
  const auto why = [&](const std::string& text) {
    const RuleResult result = ScoreText(*rule, text);
    EXPECT_EQ(result.outcome, v1::OUTCOME_SCORED) << text;
    EXPECT_EQ(result.value, result.decided_by.empty() ? 1 : 0);
    return result.decided_by;
  };
  EXPECT_EQ(why(R"(<think>t</think><answer>{"name": "Ada", "age": 36}</answer>)"), "");
  EXPECT_EQ(why("```json\n{\"name\": \"Ada\", \"age\": 36.0, \"tags\": [\"a\"], \"x\": null}\n```"), "");
  EXPECT_EQ(why(R"({"name": "Ada"})"), "$: lacks \"age\"");
  EXPECT_EQ(why(R"({"name": "ada", "age": 36})"), "$.name: does not match the pattern");
  EXPECT_EQ(why(R"({"name": "A", "age": 36})"), "$.name: is shorter than 2");
  EXPECT_EQ(why(R"({"name": "Ada", "age": 150})"), "$.age: is not below 150");
  EXPECT_EQ(why(R"({"name": "Ada", "age": 3.5})"), "$.age: is of another type");
  EXPECT_EQ(why(R"({"name": "Ada", "age": 1, "tags": ["a", "c"]})"), "$.tags[1]: is none of the values allowed");
  EXPECT_EQ(why(R"({"name": "Ada", "age": 1, "tags": ["a", "a", "a"]})"), "$.tags: has more than 2 items");
  EXPECT_EQ(why(R"({"name": "Ada", "age": 1, "y": 1})"), "$.y: must not be there");
  EXPECT_EQ(why(R"({"name": "Ada", "age": 1, "x": 2})"), "$.x: fits none of anyOf");
  EXPECT_EQ(why("[]"), "$: is of another type");
  EXPECT_EQ(why("{'name': 1}"), "it is no JSON");
  EXPECT_EQ(why("{\"name\": \"\xff\"}"), "it is no JSON");
  EXPECT_EQ(why("{\"name\": \"Ada\", \"age\": 36}" + std::string(1, '\0')), "it is no JSON");
  EXPECT_EQ(why(std::string(1000, '[')), "it is nested too deep");
  EXPECT_EQ(ScoreText(*rule, std::string(70000, ' ') + "1" + std::string(70000, '1')).outcome, v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(ScoreText(*rule, "<think>never closed {}").outcome, v1::OUTCOME_NO_ANSWER);
  EXPECT_EQ(ScoreText(*rule, "").outcome, v1::OUTCOME_NO_ANSWER);
  EXPECT_STATUS(ErrorOf("json_schema", "{schema: '{'}"), absl::StatusCode::kInvalidArgument, "is no JSON");
  EXPECT_STATUS(ErrorOf("json_schema", R"({schema: '{"properties": {"a": {"format": "date"}}}'})"),
                absl::StatusCode::kInvalidArgument, "properties.a.format is a keyword that is not supported");
  EXPECT_STATUS(ErrorOf("json_schema", R"x({schema: '{"pattern": "(?=x)"}'})x"), absl::StatusCode::kInvalidArgument,
                "none of RE2's");
}

TEST(Regex, FindsCountsMissesOrCompares) {
  EXPECT_EQ(ScoreText(*Make("regex", "{pattern: 'a+'}"), "baab").value, 1);
  EXPECT_EQ(ScoreText(*Make("regex", "{pattern: 'a+'}"), "b").value, 0);
  EXPECT_EQ(ScoreText(*Make("regex", "{pattern: 'a', times: 4}"), "ababa").value, 0.75);
  EXPECT_EQ(ScoreText(*Make("regex", "{pattern: 'sorry', value: absent}"), "so sorry").value, 0);
  EXPECT_EQ(ScoreText(*Make("regex", "{pattern: 'sorry', value: absent}"), "so").value, 1);
  const auto thinking = Make("regex", "{pattern: '=', where: thinking}");
  EXPECT_EQ(ScoreText(*thinking, "<think>1=1</think>2").value, 1);
  EXPECT_EQ(ScoreText(*thinking, "<think>1</think>=").value, 0);
  EXPECT_EQ(ScoreText(*thinking, "=").value, 0);
  EXPECT_EQ(ScoreText(*Make("regex", "{pattern: '^[0-9]+$', where: answer}"), "x \\boxed{12}").value, 1);
  const auto compare = Make("regex", "{pattern: 'A: *(\\w+)', value: equals_answer}");
  EXPECT_EQ(ScoreText(*compare, "so A: 12.", PromptOf(" 12")).value, 1);
  EXPECT_EQ(ScoreText(*compare, "so A: 13.", PromptOf("12")).value, 0);
  EXPECT_EQ(ScoreText(*compare, "so", PromptOf("12")).outcome, v1::OUTCOME_NO_ANSWER);
}

TEST(Regex, RefusesWhatCouldNotBeMatchedInBoundedTime) {
  EXPECT_STATUS(ErrorOf("regex", "{pattern: '(a)\\1'}"), absl::StatusCode::kInvalidArgument,
                "test.yaml:1: pattern: RE2");
  EXPECT_STATUS(ErrorOf("regex", "{pattern: '(?=a)'}"), absl::StatusCode::kInvalidArgument, "RE2 cannot take");
  EXPECT_STATUS(ErrorOf("regex", "{pattern: '(a{500}){2}'}"), absl::StatusCode::kInvalidArgument, "");
  EXPECT_STATUS(ErrorOf("regex", "{pattern: 'a', value: equals_answer}"), absl::StatusCode::kInvalidArgument,
                "no group");
  EXPECT_STATUS(ErrorOf("regex", "{}"), absl::StatusCode::kInvalidArgument, "pattern");
}

}  // namespace
}  // namespace grpo
