#include "trainer/device_conflicts.h"

#include "absl/strings/str_cat.h"

namespace grpo {

std::vector<Conflict> DeviceConflicts(const RunConfig& config) {
  const bool trainer = config.trainer.device == "cpu", workers = config.rollout_worker.device == "cpu";
  std::vector<Conflict> conflicts;
  if (!trainer && !workers) return conflicts;
  for (const auto& [name, policy] : config.policies) {
    if (policy.head_dtype != "tf32") continue;
    conflicts.push_back({absl::StrCat("policies.", name, ".head_dtype"),
                         absl::StrCat("is tf32, which is for GPUs, but ", trainer ? "trainer" : "rollout_worker",
                                      ".device is cpu: take float32 or bfloat16, or GPUs for both")});
  }
  return conflicts;
}

}  // namespace grpo
