// Which device the suites of this folder run on: they are written once, for the fake one and for real ones.
#ifndef GRPO_TESTS_DEVICE_DEVICE_UNDER_TEST_H_
#define GRPO_TESTS_DEVICE_DEVICE_UNDER_TEST_H_

#include <c10/core/Device.h>

#include <cstdlib>
#include <string>

#include "tests/device/fake_device.h"

namespace grpo {

// "fake", or what tools/check_gpu put into GRPO_TEST_DEVICE: "cuda". As the configuration calls it (ResolveDevice).
inline std::string NameOfDeviceUnderTest() {
  const char* const name = std::getenv("GRPO_TEST_DEVICE");
  return name == nullptr ? "fake" : name;
}

// What only the fake device shows (crashes, counters, delayed copies) is expected behind this.
inline bool OnFakeDevice() {
  return NameOfDeviceUnderTest() == "fake";
}

// Number `index` of it.
inline c10::Device DeviceUnderTest(int index = 0) {
  if (OnFakeDevice()) return fake::Device(index);
  return c10::Device(NameOfDeviceUnderTest() + ":" + std::to_string(index));
}

}  // namespace grpo

#endif  // GRPO_TESTS_DEVICE_DEVICE_UNDER_TEST_H_
