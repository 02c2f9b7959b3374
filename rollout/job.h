// A lease on its way through a worker.
#ifndef GRPO_ROLLOUT_JOB_H_
#define GRPO_ROLLOUT_JOB_H_

#include <cstdint>

#include "proto/types.pb.h"

namespace grpo {

struct Job {
  // The session's id of the lease, and the sampler's of the group.
  int64_t id = 0;
  v1::Lease lease;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_JOB_H_
