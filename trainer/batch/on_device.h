// Micro-batches on the device that computes them.
#ifndef GRPO_TRAINER_BATCH_ON_DEVICE_H_
#define GRPO_TRAINER_BATCH_ON_DEVICE_H_

#include <c10/core/Device.h>

#include "absl/status/status.h"
#include "model/config.h"
#include "trainer/batch/packer.h"

namespace grpo {

// The same micro-batch with all its tensors on `device`: one copy of all of them, through pinned memory, that nobody
// waits for. On the CPU the micro-batch as it is. What torch throws passes through.
Microbatch OnDevice(Microbatch batch, c10::Device device);

// InvalidArgument for a micro-batch, still on the CPU, with ids beyond the vocabulary or positions beyond those that the
// model has: a GPU would end the process at them, without saying why.
absl::Status ExpectInRange(const Microbatch& batch, const ModelConfig& config);

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_ON_DEVICE_H_
