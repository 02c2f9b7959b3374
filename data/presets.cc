#include "data/presets.h"

namespace grpo {

// A line of each, as published, is in data/testdata.
const std::vector<Preset>& Presets() {
  static const auto* const presets = new std::vector<Preset>{
      // Worked solutions with calculator marks <<...>>, and "#### 72" at their end (openai/grade-school-math).
      {.name = "gsm8k", .problem = {"question"}, .answer = {"answer"}, .answer_form = AnswerForm::kHashLine},
      // Hendrycks' MATH, also its test set of 500 problems; the last box of a solution is the answer.
      {.name = "math",
       .problem = {"problem"},
       .answer = {"solution"},
       .id = {"unique_id"},
       .answer_form = AnswerForm::kBoxed,
       .metadata = {{"level", "level"}, {"type", "type"}, {"subject", "subject"}}},
      // OpenR1-Math-220k; its generations, up to 100 kB a problem, are no metadata. completion_field: generations.0
      // learns from them.
      {.name = "openr1_math",
       .problem = {"problem"},
       .answer = {"answer"},
       .metadata = {{"source", "source"},
                    {"problem_type", "problem_type"},
                    {"question_type", "question_type"},
                    {"uuid", "uuid"}}},
      // DAPO-Math-17k, whose file holds each of its 17 thousand problems about a hundred times. The prompt is one chat
      // message and asks for a last line "Answer: ...".
      {.name = "dapo_17k",
       .problem = {"prompt.0.content"},
       .answer = {"reward_model.ground_truth"},
       .id = {"extra_info.index"},
       .metadata = {{"data_source", "source"}, {"ability", "ability"}},
       .drop_repeated = true},
      // Countdown as TinyZero has it; the reward rule `countdown` reads the metadata.
      {.name = "countdown",
       .answer = {"target"},
       .problem_text = "Using the numbers {nums}, create an equation that equals {target}. You can use basic "
                       "arithmetic operations (+, -, *, /) and each number can only be used once.",
       .metadata = {{"nums", "numbers"}, {"target", "target"}}},
      // GPQA, of whose sixty columns most are the annotators'.
      {.name = "gpqa",
       .problem = {"Question"},
       .answer = {"Correct Answer"},
       .id = {"Record ID"},
       .answer_form = AnswerForm::kOption,
       .wrong_options = {"Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"},
       .metadata = {{"High-level domain", "domain"}, {"Subdomain", "subdomain"}}},
      // AIME, with the field names of each of the copies that are about.
      {.name = "aime",
       .problem = {"Problem", "problem", "question"},
       .answer = {"Answer", "answer"},
       .id = {"ID", "id"},
       .metadata = {{"year", "year"}, {"url", "url"}}},
  };
  return *presets;
}

const Preset* FindPreset(const std::string& name) {
  for (const Preset& preset : Presets()) {
    if (name == preset.name) return &preset;
  }
  return nullptr;
}

}  // namespace grpo
