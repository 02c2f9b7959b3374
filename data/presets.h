// How well-known data sets are published: which field holds what, and where in it the answer stands.
#ifndef GRPO_DATA_PRESETS_H_
#define GRPO_DATA_PRESETS_H_

#include <string>
#include <utility>
#include <vector>

namespace grpo {

// Where in the answer's field the answer stands.
enum class AnswerForm {
  // All of the field.
  kWhole,
  // The last \boxed{...} of a worked solution. A record without a whole one is an error.
  kBoxed,
  // What follows the last "####", without the commas of thousands. A record without one is an error.
  kHashLine,
  // The field is the right one of several options: the letter it gets among them, in shuffled order.
  kOption,
};

// One data set as it is published. The texts live for ever.
struct Preset {
  // As the configuration names it.
  const char* name;
  // Fields by name or path; where there are several, the first that a record has.
  std::vector<const char*> problem = {}, answer = {}, id = {};
  // How the answer stands in the first of `answer` that a record has.
  AnswerForm answer_form = AnswerForm::kWhole;
  // A template of the problem, where no one field is it.
  const char* problem_text = "";
  // Of kOption: the fields of the wrong options. A record has them all.
  std::vector<const char*> wrong_options = {};
  // The fields that metadata keeps, and what they are called there; all others are dropped.
  std::vector<std::pair<const char*, const char*>> metadata = {};
  // Records that repeat an earlier one's prompt and answer are left out.
  bool drop_repeated = false;
};

// Made once; any thread.
const std::vector<Preset>& Presets();

// Null for "" and for what is none.
const Preset* FindPreset(const std::string& name);

}  // namespace grpo

#endif  // GRPO_DATA_PRESETS_H_
