// The GPUs of a machine, and which of a run's processes there takes which: a rank the one of its LOCAL_RANK, a worker one
// that the ranks leave. No torch.
#ifndef GRPO_TOOLS_LAUNCH_GPUS_H_
#define GRPO_TOOLS_LAUNCH_GPUS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/memory_need.h"
#include "trainer/run_config.h"

namespace grpo {

// As CUDA_VISIBLE_DEVICES names them: those that `variable`, its value, shows (null: it is not set), otherwise "0", "1",
// ... for each nvidia<number> in `device_folder`. None: there is no GPU, or all are hidden. Any thread.
std::vector<std::string> VisibleGpus(const char* variable, const std::string& device_folder = "/dev");
// Those that this process and its children see.
std::vector<std::string> VisibleGpus();

// Which of a machine's `num_gpus` (at least 1) its worker number `index` takes: those that `num_ranks` ranks leave, in
// turn; where they leave none, all of them in turn, beside the ranks. Pure.
int64_t GpuOfWorker(int64_t index, int64_t num_ranks, int64_t num_gpus);

// Whether processes with this `device` of the configuration compute on GPUs on a machine that has some, or none. Whether
// the build can shows when they start. Pure.
bool TakesGpus(const std::string& device, bool there_are_gpus);

// What bounds the models of a run that starts on this machine with these GPUs: its memory where the ranks compute on the
// CPU; nothing that is known here where each has a GPU, for the trainer asks that itself.
MemoryPlace MemoryHere(const RunConfig& config, const std::vector<std::string>& gpus);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_GPUS_H_
