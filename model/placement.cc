#include "model/placement.h"

#include "absl/strings/str_cat.h"
#include "model/device.h"

namespace grpo {
namespace {

absl::Status CheckDevice(at::Device device) {
  if (device.is_cpu()) return absl::OkStatus();
  const std::string what = absl::StrCat("a model cannot be placed on ", device.str(), ": ");
  const int64_t count = NumDevices(device.type());
  // Of an accelerator that the build has, and of which the machine has none, ResolveDevice says more.
  if (count == 0)
    return absl::UnimplementedError(absl::StrCat(what, "this build computes on the CPU alone, or sees no such device"));
  if (!device.has_index()) return absl::InvalidArgumentError(absl::StrCat(what, "it has no number"));
  if (device.index() < count) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(what, "this process sees ", count, ", numbered from 0"));
}

}  // namespace

absl::Status CheckPlacement(const Placement& placement) {
  if (const absl::Status fits = CheckDevice(placement.device); !fits.ok()) return fits;
  if (!placement.head_tf32) return absl::OkStatus();
  if (placement.device.is_cpu())
    return absl::InvalidArgumentError("head_dtype tf32 is for GPUs: on the CPU take float32 or bfloat16");
  if (placement.head == at::kFloat) return absl::OkStatus();
  return absl::InvalidArgumentError("a head in TF32 is one of float32, not of bfloat16");
}

}  // namespace grpo
