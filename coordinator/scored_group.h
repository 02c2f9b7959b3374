// What becomes of a group: scored, as the coordinator keeps it and as the loss will see it, or quarantined.
#ifndef GRPO_COORDINATOR_SCORED_GROUP_H_
#define GRPO_COORDINATOR_SCORED_GROUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/types.pb.h"

namespace grpo {

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
