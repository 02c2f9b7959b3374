// What becomes of a group: scored, as the coordinator keeps it and as the loss will see it, or quarantined.
#ifndef GRPO_COORDINATOR_SCORED_GROUP_H_
#define GRPO_COORDINATOR_SCORED_GROUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/types.pb.h"

namespace grpo {

// What the rule of that name said; null when the profile has none. Lives as long as the score. The first, if there are
// several.
inline const v1::RuleScore* FindRule(const v1::Score& score, absl::string_view name) {
  for (const v1::RuleScore& rule : score.rules()) {
    if (rule.name() == name) return &rule;
  }
  return nullptr;
}

// Tokens of a completion, the end-of-sequence token not counted; 0 when it has no ids. Such a token is there when the
// completion says that it stopped.
inline int64_t CompletionLength(const v1::Completion& completion) {
  const bool ended = completion.finish_reason() == v1::FINISH_REASON_STOP && completion.ids_size() > 0;
  return completion.ids_size() - (ended ? 1 : 0);
}

// One attempt's whole result. Plain data, moved rather than copied: megabytes.
struct ScoredGroup {
  // What was asked for, with the attempt whose result this is.
  v1::Lease lease;
  // [P]. By the tokenizer of the policy that sampled; empty where only text was asked for.
  std::vector<uint32_t> prompt_ids;
  // [G], completion i at position i. G is the lease's num_completions; 0 for a group that failed, which is never
  // collected.
  std::vector<v1::ScoredCompletion> completions;
  // The slot, without attempt and epoch.
  std::string worker_name;
  // From the first decode step to the last, and from sending the group to the reward server to its last score, retries
  // included, as the worker measured them.
  double generate_seconds = 0, score_seconds = 0;
  // Of an endpoint's group: what its answers cost.
  v1::EndpointUsage usage;
};

// Tokens that were sampled for it, end-of-sequence tokens included; completions without ids count nothing.
inline int64_t NumSampledTokens(const ScoredGroup& group) {
  int64_t num_tokens = 0;
  for (const v1::ScoredCompletion& scored : group.completions) num_tokens += scored.completion().ids_size();
  return num_tokens;
}

// A group that killed its worker twice, the second time alone: it is not produced, the run goes on without it.
struct QuarantinedGroup {
  // Of the last attempt.
  v1::Lease lease;
  // Ids of the workers that died with it, in order ("rollout-0.1@3": slot, attempt, epoch).
  std::vector<std::string> dead_workers;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SCORED_GROUP_H_
