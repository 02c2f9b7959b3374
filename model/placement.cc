#include "model/placement.h"

#include "absl/strings/str_cat.h"

namespace grpo {

absl::Status CheckPlacement(const Placement& placement) {
  if (placement.device.is_cpu()) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("a model cannot be placed on ", placement.device.str(), ": this build computes on the CPU alone"));
}

}  // namespace grpo
