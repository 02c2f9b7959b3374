// A run from its first stage to its last: servers, stages in order, checkpoints, summary.
#ifndef GRPO_TRAINER_RUN_H_
#define GRPO_TRAINER_RUN_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "trainer/run_config.h"

namespace grpo {

struct RunArguments {
  LoadedConfig config;
  std::string run_dir;
  std::string run_id;
  // Go on from the newest checkpoint in run_dir; without one, from the start.
  bool resume = false;
  // Ranks of the trainer.
  int64_t world_size = 1;
  // Port of the services in place of network.trainer_port: a restarted trainer comes back where its workers look for
  // it.
  std::optional<int64_t> port;
  // JSON {"address", "pid"} is written here once the services answer; empty for nowhere.
  std::string endpoint_file;
};

// OK when every stage ran or Stop was called; Aborted when a signal stopped it (state saved: exit 75). Other errors end
// the run as FAILED; their text, which is logged, says what to do. Blocks; one call per process.
absl::Status ExecuteRun(RunArguments arguments);

}  // namespace grpo

#endif  // GRPO_TRAINER_RUN_H_
