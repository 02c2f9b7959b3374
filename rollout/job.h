// A lease on its way through a worker.
#ifndef GRPO_ROLLOUT_JOB_H_
#define GRPO_ROLLOUT_JOB_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/types.pb.h"
#include "rollout/group_sampler.h"

namespace grpo {

struct Job {
  // The session's id of the lease, and the sampler's of the group.
  int64_t id = 0;
  v1::Lease lease;
};

// What a sampler is asked for. Pure.
inline GroupRequest ToGroupRequest(const Job& job) {
  return {
      .id = job.id, .prompt = job.lease.prompt().text(), .seed = job.lease.seed(), .sampling = job.lease.sampling()};
}

// What the group is handed in as failed with, when a sampler does not take it. Pure.
inline std::string PromptError(const Job& job, const absl::Status& refused) {
  return absl::StrCat("prompt ", job.lease.prompt().id(), ": ", refused.message());
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_JOB_H_
