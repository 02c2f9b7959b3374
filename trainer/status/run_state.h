// What a run's state means. Links no torch.
#ifndef GRPO_TRAINER_STATUS_RUN_STATE_H_
#define GRPO_TRAINER_STATUS_RUN_STATE_H_

#include <string>

#include "absl/strings/strip.h"
#include "proto/trainer.pb.h"

namespace grpo {

// Finished, stopped or failed: no later status follows.
inline bool IsTerminal(v1::RunState state) {
  return state == v1::RUN_STATE_FINISHED || state == v1::RUN_STATE_STOPPED || state == v1::RUN_STATE_FAILED;
}

// "RUNNING" for RUN_STATE_RUNNING. Pure.
inline std::string StateName(v1::RunState state) {
  return std::string(absl::StripPrefix(v1::RunState_Name(state), "RUN_STATE_"));
}

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_RUN_STATE_H_
