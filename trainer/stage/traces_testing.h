// Samples and groups for the tests of what becomes of them.
#ifndef GRPO_TRAINER_STAGE_TRACES_TESTING_H_
#define GRPO_TRAINER_STAGE_TRACES_TESTING_H_

#include <string>
#include <vector>

#include "coordinator/scored_group.h"
#include "trainer/stage/traces.h"

namespace grpo {

// As a synthesize stage has them by default.
inline TraceSelector::Options StageDefaults() {
  return {.accuracy_rule = "math_answer", .format_rule = "format_tags"};
}

// Right and well-formed, of one token and the end.
inline v1::ScoredCompletion Sample(int index, const std::string& text) {
  v1::ScoredCompletion scored;
  v1::Completion& completion = *scored.mutable_completion();
  completion.set_index(index);
  completion.set_text(text);
  completion.add_ids(5);
  completion.add_ids(1);
  completion.set_finish_reason(v1::FINISH_REASON_STOP);
  scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  scored.mutable_score()->set_value(1.1);
  for (const char* name : {"math_answer", "format_tags"}) {
    v1::RuleScore& rule = *scored.mutable_score()->add_rules();
    rule.set_name(name);
    rule.set_outcome(v1::OUTCOME_SCORED);
    rule.set_value(1);
  }
  return scored;
}

// Of stage "write", by version 120 of "teacher"; the answer is 12.
inline ScoredGroup Group(int64_t index, const std::string& prompt,
                         const std::vector<v1::ScoredCompletion>& completions) {
  ScoredGroup group;
  group.lease.mutable_key()->set_stage("write");
  group.lease.mutable_key()->set_group_index(index);
  group.lease.mutable_policy()->set_policy_id("teacher");
  group.lease.mutable_policy()->set_number(120);
  group.lease.set_seed(~uint64_t{0});
  group.lease.mutable_prompt()->set_id("train/7");
  group.lease.mutable_prompt()->set_text(prompt);
  group.lease.mutable_prompt()->set_answer("12");
  group.completions = completions;
  return group;
}

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TRACES_TESTING_H_
