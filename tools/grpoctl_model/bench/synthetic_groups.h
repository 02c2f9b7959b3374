// Scored groups as workers hand them in, without a worker.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_SYNTHETIC_GROUPS_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_SYNTHETIC_GROUPS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/scored_group.h"
#include "model/transformer.h"
#include "tools/grpoctl_model/bench/workload.h"

namespace grpo {

// options.prompts groups of random tokens, completions of new_tokens each, which did not end by themselves, with
// rewards 0 and 1 in turn, so that every token has an advantage. Their log-probabilities are the model's own at
// temperature 1: the update is on policy. Internal for what torch throws.
absl::StatusOr<std::vector<ScoredGroup>> SyntheticGroups(const BenchOptions& options, const Transformer& model);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_SYNTHETIC_GROUPS_H_
