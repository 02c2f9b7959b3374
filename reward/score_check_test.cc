#include "reward/score_check.h"

#include <functional>
#include <limits>
#include <string>

#include "common/status_testing.h"
#include "reward/outcome.h"

namespace grpo {
namespace {

v1::Score Good() {
  v1::Score score;
  score.set_outcome(v1::OUTCOME_SCORED);
  score.set_value(-kMaxScore);
  v1::RuleScore& rule = *score.add_rules();
  rule.set_name("exact");
  rule.set_outcome(v1::OUTCOME_NO_ANSWER);
  return score;
}

TEST(ScoreCheckTest, NamesTheFieldAndItsValue) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto unknown = static_cast<v1::Outcome>(77);
  const struct {
    const char* message;
    std::function<void(v1::Score&)> spoil;
  } cases[] = {
      {"score.outcome is absent", [](auto& s) { s.clear_outcome(); }},
      {"score.outcome is 77, which this build", [&](auto& s) { s.set_outcome(unknown); }},
      {"score.value is nan", [](auto& s) { s.set_value(kNan); }},
      {"score.value is 1e+308, it must be within", [](auto& s) { s.set_value(1e308); }},
      {"score.rules[0].outcome is 77", [&](auto& s) { s.mutable_rules(0)->set_outcome(unknown); }},
      {"score.rules[0].outcome is absent", [](auto& s) { s.mutable_rules(0)->clear_outcome(); }},
      {"score.rules[0].value is nan", [](auto& s) { s.mutable_rules(0)->set_value(kNan); }},
      {"score.rules[0].weight is -1e+10", [](auto& s) { s.mutable_rules(0)->set_weight(-1e10); }},
      {"score.rules[0].name has 0 bytes", [](auto& s) { s.mutable_rules(0)->clear_name(); }},
      {"score.rules[0].name has 257 bytes", [](auto& s) { s.mutable_rules(0)->set_name(std::string(257, 'n')); }},
      {"score.rules[0].name has 4 bytes", [](auto& s) { s.mutable_rules(0)->set_name("\x1b[1m"); }},
      {"score.rules has 257 entries",
       [](auto& s) {
         while (s.rules_size() < 257) *s.add_rules() = s.rules(0);
       }},
  };
  EXPECT_OK(CheckScore(Good()));
  for (const auto& [message, spoil] : cases) {
    v1::Score score = Good();
    spoil(score);
    EXPECT_STATUS(CheckScore(score), absl::StatusCode::kInvalidArgument, message);
  }
}

TEST(ScoreCheckTest, WhatWeFailedIsExcluded) {
  for (int outcome = v1::OUTCOME_SCORED; outcome < v1::Outcome_ARRAYSIZE; ++outcome) {
    v1::Score score = Good();
    score.set_outcome(static_cast<v1::Outcome>(outcome));
    EXPECT_EQ(CheckScore(score).ok(), outcome < v1::OUTCOME_REFERENCE_UNPARSABLE) << outcome;
    score.set_excluded(true);
    EXPECT_OK(CheckScore(score));
  }
}

TEST(ScoreCheckTest, EveryOutcomeHasAName) {
  EXPECT_EQ(OutcomeName(v1::OUTCOME_NO_ANSWER), "no_answer");
  EXPECT_EQ(OutcomeName(static_cast<v1::Outcome>(77)), "outcome_77");
}

}  // namespace
}  // namespace grpo
