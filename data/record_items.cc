#include "data/record_items.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace grpo {
namespace {

// The first of the names that the record has; empty when it has none.
std::string FirstKnown(const Json& record, const std::vector<std::string>& names) {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const std::string& name) { return FindField(record, name) != nullptr; });
  return found == names.end() ? "" : *found;
}

// `otherwise` goes on after "set OPTION if it has another name".
absl::Status NoField(const Json& record, const std::vector<std::string>& names, absl::string_view option,
                     absl::string_view otherwise = "") {
  return absl::InvalidArgumentError(absl::StrCat("there is no field \"", absl::StrJoin(names, "\" or \""), "\": set ",
                                                 option, " if it has another name", otherwise, "; ",
                                                 SuggestField(record, names[0])));
}

absl::Status About(const std::string& field, const absl::Status& status) {
  return absl::InvalidArgumentError(
      absl::StrCat("the field \"", field, "\" ", absl::StrReplaceAll(status.message(), {{"FIELD", field}})));
}

// The content of the last \boxed{...}, with balanced braces; empty when there is none.
std::string LastBox(absl::string_view text) {
  constexpr absl::string_view kBox = "\\boxed{";
  const size_t at = text.rfind(kBox);
  if (at == absl::string_view::npos) return "";
  const absl::string_view rest = text.substr(at + kBox.size());
  int depth = 1;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '\\') {
      ++i;
    } else if (rest[i] == '{') {
      ++depth;
    } else if (rest[i] == '}' && --depth == 0) {
      return std::string(rest.substr(0, i));
    }
  }
  return "";
}

// What follows the last "####" up to the end of its line.
std::string HashLine(absl::string_view text) {
  constexpr absl::string_view kHashes = "####";
  const size_t at = text.rfind(kHashes);
  if (at == absl::string_view::npos) return "";
  absl::string_view line = text.substr(at + kHashes.size());
  line = absl::StripAsciiWhitespace(line.substr(0, line.find('\n')));
  return absl::StrReplaceAll(line, {{",", ""}});
}

absl::StatusOr<std::string> TakeAnswer(const FieldPlan& plan, const Json& record, const std::string& field) {
  absl::StatusOr<std::string> text = AnswerText(*FindField(record, field));
  if (!text.ok()) return About(field, text.status());
  if (plan.answer_form == AnswerForm::kBoxed || plan.answer_form == AnswerForm::kHashLine) {
    const bool boxed = plan.answer_form == AnswerForm::kBoxed;
    *text = boxed ? LastBox(*text) : HashLine(*text);
    if (text->empty()) {
      return About(field,
                   absl::InvalidArgumentError(boxed ? "has no whole \\boxed{answer}" : "has no \"#### answer\""));
    }
  }
  return text;
}

// The options in the order of a shuffle that only the problem and the seed decide; appends them to the problem.
// Returns the letter of the right one.
absl::StatusOr<std::string> AppendOptions(const FieldPlan& plan, const Json& record, const std::string& right,
                                          std::string* problem) {
  std::vector<std::string> options = {std::string(absl::StripAsciiWhitespace(right))};
  for (const std::string& field : plan.wrong_options) {
    const Json* const value = FindField(record, field);
    if (value == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("there is no field \"", field, "\": a problem of this preset has ",
                                                     plan.wrong_options.size() + 1, " options"));
    }
    const absl::StatusOr<std::string> text = FieldText(*value);
    if (!text.ok()) return About(field, text.status());
    options.emplace_back(absl::StripAsciiWhitespace(*text));
    if (options.back() == options[0]) {
      return absl::InvalidArgumentError(absl::StrCat("the field \"", field, "\" is the right answer too"));
    }
  }
  std::vector<size_t> order(options.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Shuffle(order, CombineSeeds(plan.options_seed, HashName(*problem)));
  std::string letter;
  absl::StrAppend(problem, "\n");
  for (size_t i = 0; i < order.size(); ++i) {
    const std::string name(1, static_cast<char>('A' + i));
    absl::StrAppend(problem, "\n", name, ") ", options[order[i]]);
    if (order[i] == 0) letter = name;
  }
  return letter;
}

absl::StatusOr<std::string> TakeProblem(const FieldPlan& plan, const Json& record, const std::string& field) {
  if (plan.problem_text.has_value()) return plan.problem_text->Apply(record, "");
  const Json* const value = field.empty() ? nullptr : FindField(record, field);
  if (value != nullptr && IsMessageList(*value)) return About(field, FieldText(*value).status());
  if (value == nullptr || !(value->is_string() || value->is_number()) || *value == "") {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no text in field \"", absl::StrJoin(plan.problem, "\" or \""),
                     "\": set problem_field if it has another name; ", SuggestField(record, plan.problem[0])));
  }
  const absl::StatusOr<std::string> text = FieldText(*value);
  if (!text.ok()) return About(field, text.status());
  return text;
}

// What is left of the record, or what the plan keeps of it.
absl::Status SetMetadata(const FieldPlan& plan, const Json& record, Json rest, v1::Prompt* prompt) {
  if (plan.metadata.has_value()) {
    rest = Json::object();
    for (const auto& [field, name] : *plan.metadata) {
      if (const Json* const value = FindField(record, field); value != nullptr) rest[name] = *value;
    }
  }
  if (rest.empty()) return absl::OkStatus();
  const auto converted = google::protobuf::util::JsonStringToMessage(rest.dump(), prompt->mutable_metadata());
  if (converted.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the other fields cannot be kept as metadata: ", std::string(converted.message())));
}

}  // namespace

absl::StatusOr<RecordItem> MakeItem(const FieldPlan& plan, Json record, const std::string& default_id) {
  RecordItem made;
  v1::Prompt& prompt = made.item.prompt;
  Json rest = plan.metadata.has_value() ? Json() : record;
  const std::string problem_field = FirstKnown(record, plan.problem);
  ASSIGN_OR_RETURN(made.problem, TakeProblem(plan, record, problem_field));
  EraseField(rest, problem_field);
  if (!plan.answer.empty()) {
    const std::string field = FirstKnown(record, plan.answer);
    if (field.empty())
      return NoField(record, plan.answer, "answer_field", ", or to \"\" if the problems have no answers");
    ASSIGN_OR_RETURN(std::string answer, TakeAnswer(plan, record, field));
    if (plan.answer_form == AnswerForm::kOption) {
      ASSIGN_OR_RETURN(answer, AppendOptions(plan, record, answer, &made.problem));
    }
    *prompt.mutable_answer() = std::move(answer);
    EraseField(rest, field);
  }
  ASSIGN_OR_RETURN(*prompt.mutable_text(), plan.prompt.Apply(record, made.problem));
  if (const Json* const completion = FindField(record, plan.completion);
      completion != nullptr && completion->is_string()) {
    made.item.completion = completion->get<std::string>();
    EraseField(rest, plan.completion);
  }
  prompt.set_id(default_id);
  if (const std::string field = FirstKnown(record, plan.id); !field.empty()) {
    const absl::StatusOr<std::string> id = FieldText(*FindField(record, field));
    if (!id.ok()) return About(field, id.status());
    prompt.set_id(*id);
    EraseField(rest, field);
  }
  RETURN_IF_ERROR(SetMetadata(plan, record, std::move(rest), &prompt));
  return made;
}

}  // namespace grpo
