// Which versions of a policy a group may hold: one answer for all who ask. LeaseGroups asks before it leases a group,
// Publish before it forgets a version, and CheckSubmission of every span of a result.
#ifndef GRPO_COORDINATOR_STALENESS_H_
#define GRPO_COORDINATOR_STALENESS_H_

#include <cstdint>

namespace grpo {

// Synchronous: a group is sampled with exactly the version that it was offered for. Immutable; thread-safe.
class StalenessPolicy {
 public:
  // Whether a group that was offered for version `wanted` of its policy (PolicyRef.number) may hold tokens of version
  // `held`.
  bool MayHold(int64_t held, int64_t wanted) const { return held == wanted; }
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_STALENESS_H_
