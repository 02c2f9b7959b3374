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
  // Names or paths of the fields. An empty `answer` asks for none; an empty `problem` needs problem_text.
  std::vector<std::string> problem, answer, id;
  // Field of a completion to learn from; a record may lack it.
  std::string completion;
  // Makes the problem, where no one field is it. Applied to the record's fields, without {problem}.
  std::optional<PromptTemplate> problem_text;
  // Makes the prompt from the problem and the record's fields.
  PromptTemplate prompt;
  // As in Preset.
  AnswerForm answer_form = AnswerForm::kWhole;
  // As in Preset: for answer_form kOption, the fields of the wrong options.
  std::vector<std::string> wrong_options;
  // With the problem's text it decides the order of its options.
  uint64_t options_seed = 0;
  // Absent: metadata is every field that has no other use. Otherwise the fields that it keeps, and what they are called
  // there; those that a record lacks are left out.
  std::optional<std::vector<std::pair<std::string, std::string>>> metadata;
};

// A problem as the run sees it, and what it was made of.
struct RecordItem {
  // With the id, the prompt's text, answer and metadata, and the completion if there is one.
  DataItem item;
  // The problem before the template.
  std::string problem;
};

// The problem of a record; its id is `default_id` when the record names none. InvalidArgument, saying which field and
// what to do. Pure. The messages name no file and no line: whoever reads the file adds them.
absl::StatusOr<RecordItem> MakeItem(const FieldPlan& plan, Json record, const std::string& default_id);

}  // namespace grpo

#endif  // GRPO_DATA_RECORD_ITEMS_H_
