// What a handed-in group must look like. A worker is another process, perhaps of another build: whatever it sends is
// checked before the loss may read it.
#ifndef GRPO_COORDINATOR_SUBMISSION_H_
#define GRPO_COORDINATOR_SUBMISSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"
#include "proto/types.pb.h"

namespace grpo {

// FailedPrecondition, with both values, when the group was made with other weights than the lease names
// (`published_digest` is the digest of the leased version, empty when it was never published); InvalidArgument, naming
// completion, field and value, for anything that is no whole group of well-formed, scored completions. A header with
// `error` comes without completions. Pure.
absl::Status CheckSubmission(const v1::Lease& lease, const std::string& published_digest,
                             const v1::SubmitHeader& header, const std::vector<v1::ScoredCompletion>& completions);

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SUBMISSION_H_
