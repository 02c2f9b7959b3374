// What a handed-in group must look like. A worker is another process, perhaps of another build: whatever it sends is
// checked before the loss may read it.
#ifndef GRPO_COORDINATOR_SUBMISSION_H_
#define GRPO_COORDINATOR_SUBMISSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/staleness.h"
#include "proto/coordinator.pb.h"
#include "proto/types.pb.h"

namespace grpo {

// What every completion of a group must carry beside text, finish reason and score. What it need not carry is checked
// where it is there.
struct Requirements {
  // Completion.ids, with SubmitHeader.prompt_ids.
  bool ids = false;
  bool sample_logprob = false;
  // The log-probabilities are LOGPROB_KIND_FULL.
  bool full_logprob = false;
  bool spans = false;
  // SubmitHeader.policy_digest. A policy whose weights were published needs it whatever the kind: otherwise nobody
  // knows what was sampled.
  bool digest = false;
};

// InvalidArgument, with the value, for a kind that is not in the table of submission.cc. Pure.
absl::StatusOr<Requirements> RequirementsOf(v1::LeaseKind kind);

// FailedPrecondition, with both values, when the group was made with other weights than it may hold
// (`published_digest` is the digest of the leased version, empty when it was never published); InvalidArgument, naming
// completion, field and value, for anything that is no whole group of well-formed, scored completions that carry what
// the lease's kind requires. A header with `error` comes without completions. Pure. Well-formed means:
//   each index 0 .. G-1 once;
//   1 to max_new_tokens ids, beside prompt ids;
//   for each id one log-probability, finite and at most 0 (up to rounding);
//   spans of versions that the group may hold, which cover all ids;
//   a finish reason, and a finite score that has an outcome;
//   of an endpoint's group: neither ids, nor log-probabilities, nor spans.
absl::Status CheckSubmission(const v1::Lease& lease, const std::string& published_digest,
                             const v1::SubmitHeader& header, const std::vector<v1::ScoredCompletion>& completions,
                             const StalenessPolicy& staleness = {});

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SUBMISSION_H_
