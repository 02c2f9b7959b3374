// What a trainer does before it computes on its device, for suites that run in place of one: include it once a binary.
#ifndef GRPO_TESTS_DEVICE_DETERMINISTIC_H_
#define GRPO_TESTS_DEVICE_DETERMINISTIC_H_

#include "common/status_testing.h"
#include "model/device.h"
#include "tests/device/device_under_test.h"

namespace grpo {

// Before the first test.
class DeterministicDevice : public ::testing::Environment {
 public:
  void SetUp() override { ASSERT_OK(UseDevice(DeviceUnderTest(), /*deterministic=*/true)); }
};

// googletest owns it.
inline ::testing::Environment* const deterministic_device =
    ::testing::AddGlobalTestEnvironment(new DeterministicDevice);

}  // namespace grpo

#endif  // GRPO_TESTS_DEVICE_DETERMINISTIC_H_
