// What is shown of a run before it does anything. Links no torch.
#ifndef GRPO_TRAINER_STATUS_INITIAL_STATUS_H_
#define GRPO_TRAINER_STATUS_INITIAL_STATUS_H_

#include <string>

#include "proto/trainer.pb.h"
#include "trainer/run_config.h"

namespace grpo {

// STARTING, with every stage PENDING and its steps where they are known. Pure.
v1::RunStatus InitialStatus(const RunConfig& config, const std::string& run_id, const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_INITIAL_STATUS_H_
