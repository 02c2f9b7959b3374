// What is known of the programs of this build and of the GPUs that they could use.
#ifndef GRPO_TOOLS_DOCTOR_PROGRAMS_H_
#define GRPO_TOOLS_DOCTOR_PROGRAMS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/doctor/machine.h"

namespace grpo {

// Name and path of each shared library of a program, as the loader finds them; the path is empty for one that it does
// not find. Errors of Machine::Run.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> LibrariesOf(const Machine& machine,
                                                                             const std::string& program);

// What the programs are linked with.
struct CudaBuild {
  bool is_cuda = false;
  // 0 where it is not known.
  int cuda_major = 0;
};
CudaBuild CudaBuildOf(const Machine& machine, const std::vector<std::string>& programs);

// By nvidia-smi ("NVIDIA H200, 143771 MiB"), or where that is not there by /dev ("/dev/nvidia0"). None: no GPU.
std::vector<std::string> GpuNames(const Machine& machine);
// "550.54.15"; empty where no driver says it.
std::string DriverVersion(const Machine& machine);
// The first driver that has a CUDA of this number (CUDA's table of minor version compatibility); 0 for one not known.
int LeastDriver(int cuda_major);

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_PROGRAMS_H_
