// What a build for GPUs knows of one beyond c10; chosen in BUILD by //third_party:cuda.
#ifndef GRPO_MODEL_ACCELERATOR_MODEL_H_
#define GRPO_MODEL_ACCELERATOR_MODEL_H_

#include <c10/core/Device.h>

#include <string>

namespace grpo {

// The maker's name of a CUDA device, "NVIDIA H200"; empty for others, and in a build for CPUs. Throws what torch throws.
std::string AcceleratorModel(c10::Device device);

}  // namespace grpo

#endif  // GRPO_MODEL_ACCELERATOR_MODEL_H_
