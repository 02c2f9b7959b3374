#include "data/prompt_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grpo {

absl::StatusOr<PromptTemplate> PromptTemplate::Parse(const std::string& text) {
  PromptTemplate parsed;
  std::string literal;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      literal += c;
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      literal += c;
      ++i;
    } else if (const size_t close = text.find('}', i); c == '{' && close != std::string::npos) {
      parsed.parts_.push_back({.literal = std::exchange(literal, ""), .field = text.substr(i + 1, close - i - 1)});
      i = close;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("the \"", std::string(1, c), "\" at byte ", i,
                                                     " of the template belongs to no {field}: write it twice"));
    }
  }
  parsed.tail_ = literal;
  return parsed;
}

absl::Status PromptTemplate::CheckHoldsProblem() const {
  if (parts_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("names no field of the data, so that every prompt would be \"", tail_,
                     "\": write {problem}, in single braces, where the problem stands ({{ and }} are literal braces)"));
  }
  std::string literals = tail_;
  for (const Part& part : parts_) {
    if (part.field == "problem") return absl::OkStatus();
    // A byte that no template's text holds keeps literals apart.
    absl::StrAppend(&literals, absl::string_view("\0", 1), part.literal);
  }
  for (const absl::string_view jinja : {"{problem}", "{ problem }"}) {
    if (!absl::StrContains(literals, jinja)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("holds the literal text \"", jinja,
                     "\" and not the problem: write {problem}, in single braces ({{ and }} are literal braces)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PromptTemplate::Apply(const Json& record, const std::string& problem) const {
  std::string text;
  for (const Part& part : parts_) {
    absl::StrAppend(&text, part.literal);
    if (part.field == "problem") {
      absl::StrAppend(&text, problem);
      continue;
    }
    const Json* const field = FindField(record, part.field);
    if (field == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("the template needs the field \"", part.field,
                                                     "\", which is not there: ", SuggestField(record, part.field)));
    }
    const absl::StatusOr<std::string> value = FieldText(*field);
    if (!value.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the template needs the field \"", part.field, "\", which ", value.status().message()));
    }
    absl::StrAppend(&text, *value);
  }
  return absl::StrCat(text, tail_);
}

}  // namespace grpo
