// What samples groups behind a rollout worker, whatever it is: a generator with a policy's weights
// (rollout/generator.h), or the client of an endpoint (rollout/endpoint/sampler.h), which only has an address. Links no
// torch.
#ifndef GRPO_ROLLOUT_GROUP_SAMPLER_H_
#define GRPO_ROLLOUT_GROUP_SAMPLER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/types.pb.h"

namespace grpo {

// One group to sample.
struct GroupRequest {
  // The caller's own; of groups that are under way each has another.
  int64_t id = 0;
  // UTF-8. The generator tokenizes it, with the policy's own tokenizer where it has ids.
  std::string prompt;
  // Lease.seed: completion i draws from SampleSeed(seed, i).
  uint64_t seed = 0;
  v1::SamplingParams sampling;
};

// A whole group. Which of its fields are filled follows from who sampled it (Carries of rollout/generator.h; an
// endpoint's have text, finish reasons and usage).
struct SampledGroup {
  int64_t id = 0;
  // [P]. Empty without Carries.ids.
  std::vector<uint32_t> prompt_ids;
  // WeightsManifest.digest of the weights that were held when the last token was sampled.
  std::string policy_digest;
  // [G], completion i at position i. The text is that of the ids without the token that ended it.
  std::vector<v1::Completion> completions;
  // From the first work on its prompt to its last token.
  double generate_seconds = 0;
  // An endpoint's: what the answers cost, and, when it is not empty, why this group can never be sampled and what to
  // do; then there are no completions.
  v1::EndpointUsage usage = {};
  std::string error = {};
};

// Used by one thread, the worker's; what it starts beside is its own business.
class GroupSampler {
 public:
  virtual ~GroupSampler() = default;

  // Takes the group; the first to come is the first to be worked on. InvalidArgument, with what to do, for a group that
  // can never be sampled: an empty prompt, one that cannot be tokenized, prompt plus max_new_tokens beyond the context,
  // sampling parameters that make no sense. Then nothing has changed.
  virtual absl::Status Add(GroupRequest request) = 0;

  // Forgets the group, wherever it is; Step never returns it. An id that is not under way is ignored.
  virtual void Cancel(int64_t id) = 0;

  // Does a bounded piece of work, such as one token of each running completion, and returns the groups that are whole
  // now. InvalidArgument when the weights are at fault, so that any worker would see the same. After any error the
  // groups are lost: use a new one.
  virtual absl::StatusOr<std::vector<SampledGroup>> Step() = 0;

  // No group is under way: Step would do nothing.
  virtual bool idle() const = 0;
  // Completions under way that are not finished.
  virtual int64_t num_unfinished() const = 0;
  // Tokens sampled since it was made; only grows.
  virtual int64_t num_tokens_generated() const = 0;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_GROUP_SAMPLER_H_
