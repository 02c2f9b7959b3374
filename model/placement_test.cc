#include "model/placement.h"

#include "common/status_testing.h"
#include "model/device.h"

namespace grpo {
namespace {

TEST(PlacementTest, TheCpuTakesEveryTypeButAHeadInTf32) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    EXPECT_OK(CheckPlacement({.compute = type, .storage = type, .head = type}));
  EXPECT_STATUS(CheckPlacement({.head_tf32 = true}), absl::StatusCode::kInvalidArgument,
                "head_dtype tf32 is for GPUs: on the CPU take float32 or bfloat16");
}

TEST(PlacementTest, ADeviceThatIsNotThereIsNamed) {
  if (NumDevices(c10::kCUDA) > 0) {
    EXPECT_OK(CheckPlacement({.device = at::Device("cuda:0")}));
    EXPECT_STATUS(CheckPlacement({.device = at::Device("cuda:100")}), absl::StatusCode::kFailedPrecondition,
                  "cuda:100: this process sees");
    EXPECT_STATUS(CheckPlacement({.device = at::kCUDA}), absl::StatusCode::kInvalidArgument, "it has no number");
    EXPECT_STATUS(CheckPlacement({.device = at::Device("cuda:0"), .head = at::kBFloat16, .head_tf32 = true}),
                  absl::StatusCode::kInvalidArgument, "not of bfloat16");
  } else {
    EXPECT_STATUS(CheckPlacement({.device = at::Device("cuda:1")}), absl::StatusCode::kUnimplemented,
                  "cuda:1: this build computes on the CPU alone");
  }
}

}  // namespace
}  // namespace grpo
