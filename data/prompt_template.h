// What the policy reads, made of a record's fields: "Q: {problem}\nA:".
#ifndef GRPO_DATA_PROMPT_TEMPLATE_H_
#define GRPO_DATA_PROMPT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/record.h"

namespace grpo {

// {x} is the field x of the record, by name or path (data/record.h); {problem} is the problem, whatever field holds it;
// {{ and }} are braces. Immutable. Any thread. A default-constructed one makes empty texts.
class PromptTemplate {
 public:
  // InvalidArgument for a brace that belongs to no field. Names of fields are not looked at: a record may have any.
  static absl::StatusOr<PromptTemplate> Parse(const std::string& text);

  // InvalidArgument for a template with which no prompt can hold its problem: it names no field at all, or {problem} as
  // a literal text, which is what Jinja's {{problem}} comes to. OK for a template without {problem} that names other
  // fields.
  absl::Status CheckHoldsProblem() const;

  // InvalidArgument when the record lacks a field or it has no text. Fields are written as FieldText writes them; what
  // stands in them is not read as a template again.
  absl::StatusOr<std::string> Apply(const Json& record, const std::string& problem) const;

 private:
  struct Part {
    // The text before a field, and its name or path.
    std::string literal, field;
  };
  std::vector<Part> parts_;
  // The text behind the last field.
  std::string tail_;
};

}  // namespace grpo

#endif  // GRPO_DATA_PROMPT_TEMPLATE_H_
