// From a record to a problem: which of its fields is what, for a preset or as configured.
#ifndef GRPO_DATA_RECORD_ITEMS_H_
#define GRPO_DATA_RECORD_ITEMS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/presets.h"
#include "data/prompt_template.h"
#include "data/record.h"
#include "data/source.h"

namespace grpo {

// Which fields a problem is made of. Of several names the first that a record has counts.
struct FieldPlan {
  // What the key is called that names the fields, for messages.
  std::vector<std::string> problem, answer, id;
  std::string completion;
  // Makes the problem, where no one field is it.
  std::optional<PromptTemplate> problem_text;
  PromptTemplate prompt;
  AnswerForm answer_form = AnswerForm::kWhole;
  std::vector<std::string> wrong_options;
  uint64_t options_seed = 0;
  // Absent: metadata is every field that has no other use.
  std::optional<std::vector<std::pair<std::string, std::string>>> metadata;
};

struct RecordItem {
  DataItem item;
  // The problem before the template.
  std::string problem;
};

// The problem of a record; its id is `default_id` when the record names none. InvalidArgument, saying which field and
// what to do. Pure.
absl::StatusOr<RecordItem> MakeItem(const FieldPlan& plan, Json record, const std::string& default_id);

}  // namespace grpo

#endif  // GRPO_DATA_RECORD_ITEMS_H_
