// A whole group, as the coordinator keeps it and as the loss will see it.
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

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SCORED_GROUP_H_
