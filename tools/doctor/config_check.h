// A configuration and a live trainer as `grpoctl doctor` sees them. Both are asked for by name, so they are no rows of
// checks.inc.
#ifndef GRPO_TOOLS_DOCTOR_CONFIG_CHECK_H_
#define GRPO_TOOLS_DOCTOR_CONFIG_CHECK_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/doctor/doctor.h"
#include "trainer/run_config.h"

namespace grpo {

// What `grpoctl validate` says of it, and whether this machine has the memory and the disk. `run_dir` is where the run
// would be.
CheckResult CheckConfig(const absl::StatusOr<LoadedConfig>& loaded, const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_CONFIG_CHECK_H_
