#include "model/device_names.h"

namespace grpo {
namespace {

// Before main.
[[maybe_unused]] const bool named = (DeviceNames().push_back("fake"), true);

}  // namespace
}  // namespace grpo
