// What a configuration asks of devices that they do not do. Links no torch. Pure; any thread.
#ifndef GRPO_TRAINER_DEVICE_CONFLICTS_H_
#define GRPO_TRAINER_DEVICE_CONFLICTS_H_

#include <vector>

#include "trainer/plugin.h"
#include "trainer/run_config.h"

namespace grpo {

// A head in TF32 where trainer or workers are told to compute on the CPU; where they take what there is, the model's
// placement refuses it (model/placement.h). Whole keys.
std::vector<Conflict> DeviceConflicts(const RunConfig& config);

}  // namespace grpo

#endif  // GRPO_TRAINER_DEVICE_CONFLICTS_H_
