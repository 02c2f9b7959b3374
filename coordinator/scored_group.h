// What becomes of a group: scored, as the coordinator keeps it and as the loss will see it, or quarantined.
#ifndef GRPO_COORDINATOR_SCORED_GROUP_H_
#define GRPO_COORDINATOR_SCORED_GROUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/types.pb.h"

namespace grpo {

// What the rule of that name said; null when the profile has none. Lives as long as the score.
inline const v1::RuleScore* FindRule(const v1::Score& score, absl::string_view name) {
  for (const v1::RuleScore& rule : score.rules()) {
    if (rule.name() == name) return &rule;
  }
  return nullptr;
}

// Tokens of a completion, the end-of-sequence token not counted.
inline int64_t CompletionLength(const v1::Completion& completion) {
  return completion.ids_size() - (completion.finish_reason() == v1::FINISH_REASON_STOP ? 1 : 0);
}

struct ScoredGroup {
  v1::Lease lease;
  // [P].
  std::vector<uint32_t> prompt_ids;
  // [G], completion i at position i.
  std::vector<v1::ScoredCompletion> completions;
  std::string worker_name;
  double generate_seconds = 0, score_seconds = 0;
};

// A group that killed its worker twice, the second time alone: it is not produced, the run goes on without it.
struct QuarantinedGroup {
  // Of the last attempt.
  v1::Lease lease;
  // Ids of the workers that died with it, in order ("rollout-0.1@3": slot, attempt, epoch).
  std::vector<std::string> dead_workers;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SCORED_GROUP_H_
