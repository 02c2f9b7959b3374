// A run from its first stage to its last, as rank 0 sees it: servers, stages in order, checkpoints, summary.
#ifndef GRPO_TRAINER_RUN_H_
#define GRPO_TRAINER_RUN_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "trainer/dist/collectives.h"
#include "trainer/run_config.h"

namespace grpo {

struct RunArguments {
  LoadedConfig config;
  std::string run_dir;
  std::string run_id;
  // Go on from the newest checkpoint in run_dir; without one, from the start.
  bool resume = false;
  // Port of the services in place of network.trainer_port: a restarted trainer comes back where its workers look for
  // it.
  std::optional<int64_t> port;
  // Under which others reach the services, in place of network.advertise_host; empty: that one.
  std::string advertise_host;
};

// While the services answer, run_dir holds endpoint.json (common/rpc/endpoint.h).
//
// OK when every stage ran or Stop was called; Aborted when a signal stopped it (state saved: exit 75); Unavailable when
// another rank is gone (all have to start again with `resume`). Other errors end the run as FAILED. Their text, which
// is logged, says what to do. Blocks; one call per process.
absl::Status ExecuteRun(RunArguments arguments, Collectives* collectives);

}  // namespace grpo

#endif  // GRPO_TRAINER_RUN_H_
