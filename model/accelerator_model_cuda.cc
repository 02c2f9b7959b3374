// In a build with --config=cuda.
#include <cuda_runtime_api.h>

#include "model/accelerator_model.h"

// As ATen/cuda/CUDAContextLight.h declares it, which includes headers of CUDA's libraries that are not installed here.
namespace at::cuda {
cudaDeviceProp* getDeviceProperties(c10::DeviceIndex device);
}  // namespace at::cuda

namespace grpo {

std::string AcceleratorModel(c10::Device device) {
  return device.is_cuda() ? at::cuda::getDeviceProperties(device.index())->name : "";
}

}  // namespace grpo
