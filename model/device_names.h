// The names of devices that a configuration may give. No torch: whoever checks a configuration need not compute.
#ifndef GRPO_MODEL_DEVICE_NAMES_H_
#define GRPO_MODEL_DEVICE_NAMES_H_

#include <vector>

namespace grpo {

// "auto", "cpu", "cuda", and behind them what a test's binary has added before main: the name of an accelerator that it
// registers. Whether this build and this machine have one says ResolveDevice (model/device.h).
inline std::vector<const char*>& DeviceNames() {
  static std::vector<const char*> names = {"auto", "cpu", "cuda"};
  return names;
}

}  // namespace grpo

#endif  // GRPO_MODEL_DEVICE_NAMES_H_
