#include "tools/grpoctl/rewards/score_lines.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "reward/extract.h"
#include "reward/math/equal.h"
#include "reward/outcome.h"
#include "tools/grpoctl/json_lines.h"

namespace grpo {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Exactly one of the two keys must be given; says which.
absl::StatusOr<bool> HasFirst(const json& input, const char* first, const char* second) {
  const bool has_first = input.contains(first);
  if (has_first != input.contains(second)) return has_first;
  return absl::InvalidArgumentError(absl::StrCat(has_first ? "both" : "neither of", " \"", first, "\" and \"", second,
                                                 "\" are given; give exactly one"));
}

absl::StatusOr<std::string> CompletionOf(const json& input) {
  ASSIGN_OR_RETURN(const bool is_text, HasFirst(input, "completion", "completion_b64"));
  if (is_text) return RequiredText(input, "completion");
  ASSIGN_OR_RETURN(const std::string base64, RequiredText(input, "completion_b64"));
  std::string completion;
  if (!absl::Base64Unescape(base64, &completion)) return absl::InvalidArgumentError("\"completion_b64\" is not base64");
  return completion;
}

absl::StatusOr<bool> PrefillOf(const json& input) {
  const auto prefill = input.find("prefill");
  if (prefill == input.end()) return false;
  if (!prefill->is_boolean()) return absl::InvalidArgumentError("\"prefill\" is neither true nor false");
  return prefill->get<bool>();
}

absl::StatusOr<v1::Prompt> PromptOf(const json& input) {
  v1::Prompt prompt;
  ASSIGN_OR_RETURN(const bool is_answer, HasFirst(input, "answer", "solution"));
  if (is_answer) {
    ASSIGN_OR_RETURN(*prompt.mutable_answer(), RequiredText(input, "answer"));
  } else {
    ASSIGN_OR_RETURN(const std::string solution, RequiredText(input, "solution"));
    // A solution without an answer leaves this empty, which the rules call reference_unparsable.
    prompt.set_answer(ExtractAnswer(solution).Text());
  }
  if (input.contains("prompt")) {
    ASSIGN_OR_RETURN(*prompt.mutable_text(), RequiredText(input, "prompt"));
  }
  if (input.contains("metadata")) {
    const auto read = google::protobuf::util::JsonStringToMessage(input["metadata"].dump(), prompt.mutable_metadata());
    if (!read.ok()) return absl::InvalidArgumentError("\"metadata\" is no JSON object");
  }
  // Rules see a prefill in the prompt, where a run has it.
  ASSIGN_OR_RETURN(const bool prefill, PrefillOf(input));
  if (prefill && !IsPrefilled(prompt)) prompt.mutable_text()->append("<think>");
  return prompt;
}

absl::StatusOr<std::vector<uint32_t>> IdsOf(const json& input) {
  std::vector<uint32_t> ids;
  const auto given = input.find("ids");
  if (given == input.end()) return ids;
  if (!given->is_array()) return absl::InvalidArgumentError("\"ids\" is no list of token ids");
  for (const json& id : *given) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > UINT32_MAX) {
      return absl::InvalidArgumentError("\"ids\" holds something else than token ids");
    }
    ids.push_back(id.get<uint32_t>());
  }
  return ids;
}

ordered_json ToJson(const v1::Score& score, bool explain) {
  ordered_json rules = ordered_json::object();
  ordered_json extracted;
  for (const v1::RuleScore& rule : score.rules()) {
    ordered_json& entry = rules[rule.name()] = {{"outcome", OutcomeName(rule.outcome())}, {"value", rule.value()}};
    if (explain && !rule.decided_by().empty()) {
      entry["decided_by"] = rule.decided_by();
      entry["reference_form"] = rule.reference_form();
      entry["answer_form"] = rule.answer_form();
    }
    if (extracted.is_null() && !rule.extracted().empty()) extracted = rule.extracted();
  }
  return {
      {"outcome", OutcomeName(score.outcome())}, {"value", score.value()}, {"rules", rules}, {"extracted", extracted}};
}

}  // namespace

int64_t ScoreLines(std::istream& in, std::ostream& out, const RewardProfile& profile, bool explain) {
  return MapJsonLines(in, out, [&](const json& input) -> absl::StatusOr<ordered_json> {
    ASSIGN_OR_RETURN(const std::string completion, CompletionOf(input));
    ASSIGN_OR_RETURN(const v1::Prompt prompt, PromptOf(input));
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, IdsOf(input));
    const RuleInput row{.completion = completion, .prompt = prompt, .explain = explain, .ids = ids};
    v1::Score score = profile.ScoreAlone(row);
    profile.FinishGroup({&row, 1}, {&score, 1});
    return ToJson(score, explain);
  });
}

int64_t EqualLines(std::istream& in, std::ostream& out, const math::EqualOptions& options) {
  return MapJsonLines(in, out, [&options](const json& input) -> absl::StatusOr<ordered_json> {
    ASSIGN_OR_RETURN(const std::string gold, RequiredText(input, "gold"));
    ASSIGN_OR_RETURN(const std::string pred, RequiredText(input, "pred"));
    const math::Comparison comparison = math::Equal(gold, pred, options);
    const ordered_json equal = comparison.equal.has_value() ? ordered_json(*comparison.equal) : ordered_json();
    ordered_json output = {{"equal", equal}, {"outcome", OutcomeName(comparison.outcome)}};
    if (options.explain) {
      output["decided_by"] = comparison.rule;
      output["gold_form"] = comparison.gold_form;
      output["pred_form"] = comparison.pred_form;
    }
    return output;
  });
}

}  // namespace grpo
