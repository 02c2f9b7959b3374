// What a handed-in group must look like. A worker is another process, perhaps of another build: whatever it sends is
// checked before the loss may read it.
#ifndef GRPO_COORDINATOR_SUBMISSION_H_
#define GRPO_COORDINATOR_SUBMISSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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

// A policy's token ids: what those of its submissions are held against.
struct Vocabulary {
  // Every id is below it.
  int64_t size = 0;
  // The ids of a prompt [P], as every generator that has ids makes them. Called by any thread.
  std::function<absl::StatusOr<std::vector<uint32_t>>(const std::string& prompt)> encode_prompt;
};

// What is known of a group's result beforehand, beside its lease; what is not known is not compared.
struct Expected {
  // Of the policy that the lease names; null: not known.
  std::shared_ptr<const Vocabulary> vocabulary = nullptr;
  // Names of the rules of the lease's reward profile, in order.
  std::optional<std::vector<std::string>> rules = std::nullopt;
};

// InvalidArgument, with the value, for a kind that is not in the table of submission.cc. Pure.
absl::StatusOr<Requirements> RequirementsOf(v1::LeaseKind kind);

// FailedPrecondition, with both values, when the group was made with other weights than it may hold
// (`published_digest` is the digest of the leased version, empty when it was never published); InvalidArgument, naming
// completion, field and value, for anything that is no whole group of well-formed, scored completions that carry what
// the lease's kind requires. A header with `error` comes without completions. Pure. Well-formed means:
//   each index 0 .. G-1 once;
//   1 to max_new_tokens ids of the vocabulary, beside the ids of the lease's prompt;
//   for each id one log-probability, finite and at most 0 (up to rounding);
//   spans of versions that the group may hold, which cover all ids;
//   a finish reason, and a score that CheckScore (reward/score_check.h) takes, of the profile's rules;
//   of an endpoint's group: neither ids, nor log-probabilities, nor spans.
absl::Status CheckSubmission(const v1::Lease& lease, const std::string& published_digest,
                             const v1::SubmitHeader& header, const std::vector<v1::ScoredCompletion>& completions,
                             const Expected& expected = {}, const StalenessPolicy& staleness = {});

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SUBMISSION_H_
