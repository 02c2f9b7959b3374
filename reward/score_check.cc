#include "reward/score_check.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "reward/outcome.h"

namespace grpo {
namespace {

constexpr int kMaxRules = 256;
constexpr size_t kMaxNameBytes = 256;

// A completion that nobody judged must not look like one that earned 0 (docs/design.md law 1).
absl::Status CheckOutcome(absl::string_view field, v1::Outcome outcome) {
  if (outcome == v1::OUTCOME_UNSPECIFIED) return absl::InvalidArgumentError(absl::StrCat(field, " is absent"));
  if (v1::Outcome_IsValid(outcome)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", outcome, ", which this build does not know: use the same build on both sides"));
}

absl::Status CheckRange(absl::string_view field, double value) {
  // Not for NaN.
  if (std::abs(value) <= kMaxScore) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, ", it must be within ", -kMaxScore, " and ", kMaxScore));
}

absl::Status CheckRule(const v1::RuleScore& rule) {
  RETURN_IF_ERROR(CheckOutcome("outcome", rule.outcome()));
  RETURN_IF_ERROR(CheckRange("value", rule.value()));
  RETURN_IF_ERROR(CheckRange("weight", rule.weight()));
  const std::string& name = rule.name();
  if (!name.empty() && name.size() <= kMaxNameBytes && IsPrintable(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("name has ", name.size(), " bytes, it must have 1 to ", kMaxNameBytes,
                                                 " and no control characters"));
}

}  // namespace

absl::Status CheckScore(const v1::Score& score) {
  RETURN_IF_ERROR(CheckOutcome("score.outcome", score.outcome()));
  RETURN_IF_ERROR(CheckRange("score.value", score.value()));
  if (score.outcome() >= v1::OUTCOME_REFERENCE_UNPARSABLE && !score.excluded()) {
    return absl::InvalidArgumentError(absl::StrCat("score.excluded is false beside the outcome ",
                                                   OutcomeName(score.outcome()), ", which must not count"));
  }
  if (score.rules_size() > kMaxRules) {
    return absl::InvalidArgumentError(
        absl::StrCat("score.rules has ", score.rules_size(), " entries, at most ", kMaxRules));
  }
  for (int i = 0; i < score.rules_size(); ++i) {
    const absl::Status rule = CheckRule(score.rules(i));
    if (!rule.ok()) return absl::InvalidArgumentError(absl::StrCat("score.rules[", i, "].", rule.message()));
  }
  return absl::OkStatus();
}

}  // namespace grpo
