#include "reward/profile.h"

#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "spdlog/sinks/ostream_sink.h"

namespace grpo {

// Builds profiles whose rules are not in the registry.
class RewardProfilePeer {
 public:
  static std::unique_ptr<RewardProfile> Make(RewardProfileOptions options,
                                             std::vector<std::pair<double, std::unique_ptr<Rule>>> rules) {
    auto profile = std::unique_ptr<RewardProfile>(new RewardProfile);
    profile->options_ = std::move(options);
    for (auto& [weight, rule] : rules) {
      RuleOptions rule_options;
      rule_options.weight = weight;
      profile->rules_.push_back(
          {"rule" + std::to_string(profile->rules_.size()), rule_options, {0, 1}, std::move(rule)});
    }
    EXPECT_OK(profile->Connect());
    return profile;
  }
};

namespace {

using ::testing::ElementsAre;

struct Rewards {
  std::map<std::string, RewardProfileOptions> rewards;
  template <class V>
  void Visit(V& v) {
    v("rewards", rewards, {.help = "Profiles."});
  }
};

absl::StatusOr<std::unique_ptr<RewardProfile>> FromYaml(const std::string& yaml) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigText(yaml, "test.yaml"));
  Rewards rewards;
  RETURN_IF_ERROR(LoadOptions(section, &rewards));
  return RewardProfile::Make("r", rewards.rewards.at("r"));
}

v1::Prompt PromptWithAnswer(const std::string& answer) {
  v1::Prompt prompt;
  prompt.set_id("p");
  prompt.set_answer(answer);
  return prompt;
}

std::vector<v1::Outcome> Outcomes(const v1::Score& score) {
  std::vector<v1::Outcome> outcomes;
  for (const v1::RuleScore& rule : score.rules()) outcomes.push_back(rule.outcome());
  return outcomes;
}

// Answers the same to everything; throws when so told.
class FixedRule : public Rule {
 public:
  explicit FixedRule(RuleResult result) : result_(std::move(result)) {}
  RuleResult Score(const RuleInput& input) const override {
    if (result_.extracted == "throw") throw std::runtime_error("broken");
    return result_;
  }

 private:
  const RuleResult result_;
};

v1::Score ScoreOf(const std::vector<RuleResult>& results, RewardProfileOptions options = {}) {
  std::vector<std::pair<double, std::unique_ptr<Rule>>> rules;
  for (const RuleResult& result : results) rules.emplace_back(0.5, std::make_unique<FixedRule>(result));
  return RewardProfilePeer::Make(std::move(options), std::move(rules))->Score("text", PromptWithAnswer("1"));
}

TEST(RewardProfile, AddsWeightedValuesAndKeepsEachRulesOwn) {
  ASSERT_OK_AND_ASSIGN(const auto profile,
                       FromYaml("rewards: {r: {rules: {math_answer: {weight: 2}, format_tags: {weight: 0.25}}}}"));
  struct Case {
    const char* completion;
    double accuracy, format;
  };
  for (const Case& c :
       {Case{"<think>3*4</think><answer>12</answer>", 1, 1}, Case{"<think>3*4</think><answer>13</answer>", 0, 1},
        Case{"<answer>12</answer>", 1, 0}, Case{"<answer>13</answer>", 0, 0}}) {
    const v1::Score score = profile->Score(c.completion, PromptWithAnswer("12"));
    EXPECT_EQ(score.outcome(), v1::OUTCOME_SCORED);
    EXPECT_FALSE(score.excluded());
    EXPECT_EQ(score.value(), 2 * c.accuracy + 0.25 * c.format) << c.completion;
    ASSERT_EQ(score.rules_size(), 2);
    EXPECT_EQ(score.rules(0).name(), "format_tags");
    EXPECT_EQ(score.rules(0).value(), c.format);
    EXPECT_EQ(score.rules(0).weight(), 0.25);
    EXPECT_EQ(score.rules(1).name(), "math_answer");
    EXPECT_EQ(score.rules(1).value(), c.accuracy);
    EXPECT_EQ(score.rules(1).extracted(), c.accuracy == 1 ? "12" : "13");
  }
}

// One that fails often hid the first failure of another, which shared its count.
TEST(RewardProfile, TheFirstFailureOfEachRuleIsLogged) {
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  const auto failing = [](double value) { return std::make_unique<FixedRule>(RuleResult{.value = value}); };
  std::vector<std::pair<double, std::unique_ptr<Rule>>> one, two;
  one.emplace_back(1, failing(5));
  two.emplace_back(1, failing(0));
  two.emplace_back(1, failing(7));
  const auto first = RewardProfilePeer::Make({}, std::move(one));
  const auto second = RewardProfilePeer::Make({}, std::move(two));
  for (int i = 0; i < 6; ++i) first->Score("text", PromptWithAnswer("1"));
  second->Score("text", PromptWithAnswer("1"));
  spdlog::set_default_logger(before);
  const auto count = [&](const std::string& text) {
    int num_found = 0;
    for (size_t at = 0; (at = log.str().find(text, at)) != std::string::npos; ++at) ++num_found;
    return num_found;
  };
  // The 1st, 2nd and 4th of six.
  EXPECT_EQ(count("reward rule rule0 failed"), 3) << log.str();
  EXPECT_EQ(count("reward rule rule1 failed"), 1) << log.str();
  EXPECT_EQ(count("(failure 1 of this rule)"), 2) << log.str();
}

TEST(RewardProfile, WhatTheCompletionCausedIsZeroOrExcludedAsConfigured) {
  for (const std::string choice : {"zero", "exclude"}) {
    ASSERT_OK_AND_ASSIGN(const auto profile,
                         FromYaml("rewards: {r: {rules: {math_answer: , format_tags: }, no_answer: " + choice +
                                  ", undecided: " + choice + ", over_budget: " + choice + "}}"));
    for (const auto& [answer, outcome] :
         std::vector<std::pair<std::string, v1::Outcome>>{{"\\boxed{12", v1::OUTCOME_NO_ANSWER},
                                                          {"twelve", v1::OUTCOME_UNDECIDED},
                                                          {std::string(30000, '9'), v1::OUTCOME_OVER_BUDGET}}) {
      const v1::Score score = profile->Score("<think>t</think><answer>" + answer + "</answer>", PromptWithAnswer("12"));
      EXPECT_EQ(score.outcome(), outcome);
      EXPECT_EQ(score.excluded(), choice == "exclude");
      // The format is paid all the same.
      EXPECT_EQ(score.value(), 1.0);
    }
  }
}

TEST(RewardProfile, WhatWeCausedIsAlwaysExcluded) {
  for (const v1::Outcome outcome : {v1::OUTCOME_REFERENCE_UNPARSABLE, v1::OUTCOME_DEADLINE, v1::OUTCOME_RULE_ERROR}) {
    const v1::Score score = ScoreOf({{.value = 1}, {.outcome = outcome}});
    EXPECT_EQ(score.outcome(), outcome);
    EXPECT_TRUE(score.excluded());
  }
}

TEST(RewardProfile, TheGravestOutcomeIsTheScores) {
  const v1::Score score =
      ScoreOf({{.outcome = v1::OUTCOME_OVER_BUDGET}, {.value = 1}, {.outcome = v1::OUTCOME_NO_ANSWER}});
  EXPECT_EQ(score.outcome(), v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(score.value(), 0.5);
  EXPECT_THAT(Outcomes(score), ElementsAre(v1::OUTCOME_OVER_BUDGET, v1::OUTCOME_SCORED, v1::OUTCOME_NO_ANSWER));
}

// The grave outcome is excluded by configuration even when a graver one is not.
TEST(RewardProfile, AnyRulesExclusionExcludesTheSample) {
  RewardProfileOptions options;
  options.no_answer = "exclude";
  EXPECT_TRUE(ScoreOf({{.outcome = v1::OUTCOME_NO_ANSWER}, {.outcome = v1::OUTCOME_OVER_BUDGET}}, options).excluded());
}

// Row 76 of the attacks: a server that a rule asks wants the sample left out.
TEST(RewardProfile, ARuleMayLeaveASampleOutWhateverItsOutcome) {
  const v1::Score score = ScoreOf({{.value = 1}, {.value = 1, .excluded = true}});
  EXPECT_EQ(score.outcome(), v1::OUTCOME_SCORED);
  EXPECT_TRUE(score.excluded());
}

// Others refuse longer ones, and cannot read a decided_by that is not UTF-8.
TEST(RewardProfile, TextsOfRulesAreCutBeforeTheyTravel) {
  const v1::Score score = ScoreOf({{.extracted = std::string(1 << 20, '\xff'), .decided_by = "half a char\xc3"}});
  EXPECT_EQ(score.rules(0).extracted(), std::string(1 << 16, '\xff'));
  EXPECT_EQ(score.rules(0).decided_by(), "half a char\xEF\xBF\xBD");
}

TEST(RewardProfile, ARuleThatMisbehavesIsARuleErrorAndCostsNoNeighbour) {
  for (const RuleResult& bad : std::vector<RuleResult>{{.extracted = "throw"},
                                                       {.value = std::nan("")},
                                                       {.value = std::numeric_limits<double>::infinity()},
                                                       {.value = 1.5},
                                                       {.value = -0.1},
                                                       {.outcome = v1::OUTCOME_NO_ANSWER, .value = 1},
                                                       {.outcome = v1::OUTCOME_UNSPECIFIED},
                                                       {.outcome = static_cast<v1::Outcome>(77)}}) {
    const v1::Score score = ScoreOf({bad, {.value = 1}});
    EXPECT_EQ(score.outcome(), v1::OUTCOME_RULE_ERROR);
    EXPECT_TRUE(score.excluded());
    EXPECT_EQ(score.rules(0).value(), 0);
    EXPECT_THAT(Outcomes(score), ElementsAre(v1::OUTCOME_RULE_ERROR, v1::OUTCOME_SCORED));
  }
}

TEST(RewardProfile, AReferenceThatCannotBeReadExcludesEveryCompletionButTheOneThatRepeatsIt) {
  ASSERT_OK_AND_ASSIGN(const auto profile, FromYaml("rewards: {r: {rules: {math_answer: }}}"));
  const v1::Prompt prompt = PromptWithAnswer("5 \\to 6");
  EXPECT_STATUS(profile->CheckReference(prompt), absl::StatusCode::kInvalidArgument,
                "prompt \"p\", rule math_answer: ");
  for (const char* completion : {"", "no answer", "<answer>2</answer>", "<answer>x</answer>"}) {
    const v1::Score score = profile->Score(completion, prompt);
    EXPECT_EQ(score.outcome(), v1::OUTCOME_REFERENCE_UNPARSABLE) << completion;
    EXPECT_TRUE(score.excluded());
  }
  EXPECT_EQ(profile->Score("\\boxed{5 \\to 7}", prompt).outcome(), v1::OUTCOME_REFERENCE_UNPARSABLE);
  EXPECT_EQ(profile->Score("\\boxed{5\\to6}", prompt).value(), 1);
  EXPECT_OK(profile->CheckReference(PromptWithAnswer("2")));
}

TEST(RewardProfile, UnscoredHasTheOutcomeInEveryRule) {
  ASSERT_OK_AND_ASSIGN(const auto profile, RewardProfile::Make("default", DefaultRewardProfile()));
  const v1::Score score = profile->Unscored(v1::OUTCOME_DEADLINE);
  EXPECT_TRUE(score.excluded());
  EXPECT_EQ(score.value(), 0);
  EXPECT_THAT(Outcomes(score), ElementsAre(v1::OUTCOME_DEADLINE, v1::OUTCOME_DEADLINE));
  EXPECT_EQ(score.rules(0).weight(), 1);
}

TEST(RewardProfile, TheHashIsOfTheMeaningNotOfTheSpelling) {
  ASSERT_OK_AND_ASSIGN(const auto sparse, FromYaml("rewards: {r: {rules: {math_answer: , format_tags: }}}"));
  ASSERT_OK_AND_ASSIGN(const auto full, FromYaml("rewards: {r: {no_answer: zero, rules: {format_tags: {prefill: "
                                                 "false}, math_answer: {weight: 1, min_digits: 6}}}}"));
  ASSERT_OK_AND_ASSIGN(const auto other,
                       FromYaml("rewards: {r: {rules: {math_answer: {min_digits: 7}, format_tags: }}}"));
  EXPECT_EQ(sparse->ref().sha256().size(), 64u);
  EXPECT_EQ(sparse->ref().sha256(), full->ref().sha256());
  EXPECT_NE(sparse->ref().sha256(), other->ref().sha256());
  ASSERT_OK_AND_ASSIGN(const auto again, RewardProfile::Make("r", sparse->options()));
  EXPECT_EQ(again->ref().sha256(), sparse->ref().sha256());
}

TEST(RewardProfile, RefusesUnknownRulesAndKeysWithTheirPlaceAndTheNearest) {
  EXPECT_STATUS(
      FromYaml("rewards:\n  r:\n    rules:\n      math_anwser: {weight: 1}"), absl::StatusCode::kInvalidArgument,
      "test.yaml:4: rewards.r.rules.math_anwser: there is no reward rule \"math_anwser\"; did you mean math_answer?");
  EXPECT_STATUS(FromYaml("rewards:\n  r:\n    rules:\n      format_tag:"), absl::StatusCode::kInvalidArgument,
                "did you mean format_tags?");
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {math_answer: {min_digit: 3}}}}"), absl::StatusCode::kInvalidArgument,
                "did you mean min_digits?");
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {math_answer: {min_digits: 0}}}}"), absl::StatusCode::kInvalidArgument,
                "min_digits");
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {}}}"), absl::StatusCode::kInvalidArgument, "rewards.r.rules is empty");
}

v1::Prompt PromptFrom(const std::string& source) {
  v1::Prompt prompt = PromptWithAnswer("12");
  (*prompt.mutable_metadata()->mutable_fields())["source"].set_string_value(source);
  return prompt;
}

TEST(RewardProfile, WeightsDependOnTheDataSource) {
  ASSERT_OK_AND_ASSIGN(const auto profile, FromYaml("rewards: {r: {rules: {math_answer: {weight: 2, weight_for: {easy: "
                                                    "0.5, hard: 4}}, format_tags: {weight: 0.25}}}}"));
  const std::string right = "<think>3*4</think><answer>12</answer>";
  EXPECT_EQ(profile->Score(right, PromptFrom("easy")).value(), 0.75);
  EXPECT_EQ(profile->Score(right, PromptFrom("hard")).value(), 4.25);
  EXPECT_EQ(profile->Score(right, PromptFrom("other")).value(), 2.25);
  EXPECT_EQ(profile->Score(right, PromptWithAnswer("12")).value(), 2.25);
  EXPECT_EQ(profile->Score(right, PromptFrom("hard")).rules(1).weight(), 4);
}

TEST(RewardProfile, AGatedRuleCountsOnlyWhereItsGateIsOpenAndKeepsItsValue) {
  ASSERT_OK_AND_ASSIGN(
      const auto profile,
      FromYaml("rewards: {r: {rules: {math_answer: , format_tags: {weight: 0.5, when: {rule: math_answer}}}}}"));
  EXPECT_EQ(profile->Score("<think>t</think><answer>12</answer>", PromptWithAnswer("12")).value(), 1.5);
  for (const std::string wrong : {"13", "\\boxed{"}) {
    const v1::Score score = profile->Score("<think>t</think><answer>" + wrong + "</answer>", PromptWithAnswer("12"));
    EXPECT_EQ(score.value(), 0);
    EXPECT_EQ(score.rules(0).value(), 1);
    EXPECT_EQ(score.rules(0).weight(), 0);
  }
}

TEST(RewardProfile, ClipsRulesAndSumAndKeepsTheRawValue) {
  ASSERT_OK_AND_ASSIGN(const auto profile,
                       FromYaml("rewards: {r: {clip_max: 0.9, rules: {math_answer: {weight: 2, clip_max: 0.25}, "
                                "format_tags: {weight: 0.5, clip_min: 0.5}}}}"));
  const v1::Score both = profile->Score("<think>t</think><answer>12</answer>", PromptWithAnswer("12"));
  EXPECT_EQ(both.value(), 0.9);
  EXPECT_EQ(both.rules(1).value(), 1);
  EXPECT_EQ(profile->Score("<answer>12</answer>", PromptWithAnswer("12")).value(), 0.75);
  EXPECT_EQ(profile->Score("<answer>13</answer>", PromptWithAnswer("12")).value(), 0.25);
}

TEST(RewardProfile, RulesOfOneKindHaveNamesOfTheirOwn) {
  ASSERT_OK_AND_ASSIGN(const auto profile,
                       FromYaml("rewards: {r: {rules: {works: {type: regex, pattern: '='}, polite: {type: regex, "
                                "pattern: please, weight: 0.5}}}}"));
  const v1::Score score = profile->Score("please 1=1", PromptWithAnswer(""));
  EXPECT_EQ(score.value(), 1.5);
  EXPECT_EQ(score.rules(0).name(), "polite");
  EXPECT_EQ(score.rules(1).name(), "works");
}

TEST(RewardProfile, ARuleAboutTheGroupSeesAllOfIt) {
  ASSERT_OK_AND_ASSIGN(const auto profile, FromYaml("rewards: {r: {rules: {math_answer: , group_length: }}}"));
  EXPECT_TRUE(profile->needs_group());
  const v1::Prompt prompt = PromptWithAnswer("12");
  const std::vector<uint32_t> ids(30);
  const std::vector<std::string> texts = {"\\boxed{12}", "\\boxed{12}", "\\boxed{13}"};
  std::vector<RuleInput> group;
  std::vector<v1::Score> scores;
  for (size_t i = 0; i < texts.size(); ++i) {
    group.push_back({.completion = texts[i], .prompt = prompt, .ids = absl::MakeConstSpan(ids).first(10 * (i + 1))});
    scores.push_back(profile->ScoreAlone(group.back()));
  }
  profile->FinishGroup(group, absl::MakeSpan(scores));
  EXPECT_EQ(scores[0].value(), 1.5);
  EXPECT_EQ(scores[1].value(), 1);
  EXPECT_EQ(scores[2].value(), -0.5);
}

TEST(RewardProfile, ARuleThatCountsTokensFailsLoudlyWithoutThem) {
  ASSERT_OK_AND_ASSIGN(const auto profile, FromYaml("rewards: {r: {rules: {soft_overlong: {max_tokens: 5}}}}"));
  const v1::Score score = profile->Score("text", PromptWithAnswer(""));
  EXPECT_EQ(score.outcome(), v1::OUTCOME_RULE_ERROR);
  EXPECT_TRUE(score.excluded());
  EXPECT_THAT(score.rules(0).decided_by(), ::testing::HasSubstr("no token ids were sent"));
  EXPECT_EQ(profile->Score("", PromptWithAnswer("")).outcome(), v1::OUTCOME_SCORED);
}

TEST(RewardProfile, RefusesReferencesToRulesThatAreNotThere) {
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {format_tags: {when: {rule: math_answr}}, math_answer: }}}"),
                absl::StatusCode::kInvalidArgument, "did you mean math_answer?");
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {cosine_length: {max_tokens: 9}, exact: }}}"),
                absl::StatusCode::kInvalidArgument, "the profile has no rule \"math_answer\"");
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {cosine_length: {max_tokens: 9, basis: cosine_length}}}}"),
                absl::StatusCode::kInvalidArgument, "judges the completion alone");
  EXPECT_STATUS(FromYaml("rewards: {r: {rules: {exact: {clip_min: 2, clip_max: 1}}}}"),
                absl::StatusCode::kInvalidArgument, "clip_min");
}

TEST(RewardProfile, CountsWhatItsRulesDid) {
  ASSERT_OK_AND_ASSIGN(const auto profile, FromYaml("rewards: {r: {rules: {math_answer: }}}"));
  for (const char* text : {"\\boxed{12}", "\\boxed{13}", "none"}) profile->Score(text, PromptWithAnswer("12"));
  RuleMetricsText metrics;
  profile->AppendMetrics(&metrics);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, ::testing::HasSubstr(
                        "grpo_reward_scores_total{profile=\"r\",rule=\"math_answer\",outcome=\"scored\"} 2\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("outcome=\"no_answer\"} 1\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("grpo_reward_value_sum{profile=\"r\",rule=\"math_answer\"} 1\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("grpo_reward_rule_seconds_count{profile=\"r\",rule=\"math_answer\"} 3\n"));
}

TEST(FormatTags, IsExactlyThinkThenAnswer) {
  ASSERT_OK_AND_ASSIGN(const auto rule, MakeRule("format_tags", Section()));
  const v1::Prompt prompt;
  for (const char* good : {"<think>r</think><answer>a</answer>", " \n<think> r\n</think>\n\n<answer>\na </answer>\n",
                           "<think><b></think><answer>a</answer>"}) {
    EXPECT_EQ(rule->Score({good, prompt}).value, 1) << good;
  }
  for (const char* bad :
       {"", "<think></think><answer>a</answer>", "<think> \n</think><answer>a</answer>",
        "<think>r</think><answer> </answer>", "<think>r</think><answer>a</answer>.",
        "x<think>r</think><answer>a</answer>", "<think>r</think> so <answer>a</answer>",
        "<think>r</think><answer>a</answer><answer>a</answer>", "<think>r</think></think><answer>a</answer>",
        "<think><think>r</think><answer>a</answer>", "<think>r<answer>b</answer></think><answer>a</answer>",
        "<think>r</think><answer>a<answer>b</answer>", "<think>r</think><answer>a</answer></answer>",
        "<answer>a</answer><think>r</think>", "<think>r</think><answer>a", "<think>r<answer>a</answer>",
        "r</think><answer>a</answer>", "<THINK>r</THINK><ANSWER>a</ANSWER>",
        "<think>r</think><answer><think></answer>"}) {
    EXPECT_EQ(rule->Score({bad, prompt}).outcome, v1::OUTCOME_SCORED);
    EXPECT_EQ(rule->Score({bad, prompt}).value, 0) << bad;
  }
}

TEST(Prefill, IsAnOptionAndFoundOutFromThePrompt) {
  v1::Prompt plain = PromptWithAnswer("4"), prefilled = PromptWithAnswer("4");
  prefilled.set_text("Q\n<think>\n");
  const std::string inside = "2+2</think><answer>4</answer>", whole = "<think>" + inside;
  for (const std::string yaml : {"", "{prefill: true}"}) {
    ASSERT_OK_AND_ASSIGN(const auto profile,
                         FromYaml("rewards: {r: {rules: {math_answer: " + yaml + ", format_tags: " + yaml + "}}}"));
    EXPECT_EQ(profile->Score(inside, plain).value(), yaml.empty() ? 1 : 2);
    EXPECT_EQ(profile->Score(inside, prefilled).value(), 2);
    EXPECT_EQ(profile->Score(whole, plain).value(), yaml.empty() ? 2 : 1);
    EXPECT_EQ(profile->Score("\\boxed{4}", prefilled).outcome(), v1::OUTCOME_NO_ANSWER);
  }
}

}  // namespace
}  // namespace grpo
