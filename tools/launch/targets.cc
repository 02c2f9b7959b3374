#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/launch/target.h"

namespace grpo {

#define GRPO_LAUNCH_TARGET(name, Class) std::unique_ptr<LaunchTarget> Make##Class();
#include "tools/launch/targets.inc"
#undef GRPO_LAUNCH_TARGET

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<LaunchTarget> (*make)();
};

constexpr Entry kTargets[] = {
#define GRPO_LAUNCH_TARGET(name, Class) {#name, &Make##Class},
#include "tools/launch/targets.inc"
#undef GRPO_LAUNCH_TARGET
};

}  // namespace

std::vector<std::string> LaunchTargetNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kTargets) names.emplace_back(entry.name);
  return names;
}

absl::StatusOr<std::unique_ptr<LaunchTarget>> MakeLaunchTarget(absl::string_view name) {
  for (const Entry& entry : kTargets) {
    if (entry.name == name) return entry.make();
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no kind of cluster \"", name, "\": --on takes ",
                                                 absl::StrJoin(LaunchTargetNames(), ", ")));
}

}  // namespace grpo
