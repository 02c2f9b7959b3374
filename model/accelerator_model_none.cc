// In a build for CPUs.
#include "model/accelerator_model.h"

namespace grpo {

std::string AcceleratorModel(c10::Device) {
  return "";
}

}  // namespace grpo
