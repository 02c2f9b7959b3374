// `grpoctl reward new`: the files of a rule of one's own to begin with.
#ifndef GRPO_TOOLS_GRPOCTL_REWARDS_RULE_SKELETON_H_
#define GRPO_TOOLS_GRPOCTL_REWARDS_RULE_SKELETON_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// yaml, python, cpp, remote, compiled. By name; lives for ever.
const std::vector<std::string>& SkeletonKinds();

// Writes the files into `folder`, which is made if need be, with `name` for my_rule, and returns their paths.
// InvalidArgument for a name that is no identifier in lower case or another kind, AlreadyExists for a file that is
// there. Nothing is written then. ErrnoStatus's codes for the disk.
absl::StatusOr<std::vector<std::string>> WriteSkeleton(const std::string& name, const std::string& kind,
                                                       const std::string& folder);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_REWARDS_RULE_SKELETON_H_
