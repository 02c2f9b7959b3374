// A run from its first stage to its last, as rank 0 sees it: servers, stages in order, checkpoints, summary.
//
//   newest checkpoint (resume) --> policies, records --> server, endpoint.json --> Stage::Check of every stage
//     --> each stage from the cursor on: Stage::Run, its report, summary.json, a checkpoint
//     --> the other ranks let go, the terminal state shown, the coordinator ended, the server shut down
//         (none of it when another rank is gone: then all start again)
//
//   thread                 does
//   ExecuteRun's caller    the training thread: all of the above; alone changes policies, files and stages
//   gRPC's                 Coordinator and TrainerService
//   Watchdog's             looks at the ranks while stages run
#ifndef GRPO_TRAINER_RUN_H_
#define GRPO_TRAINER_RUN_H_

#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "coordinator/coordinator.h"
#include "trainer/dist/collectives.h"
#include "trainer/records/run_guard.h"
#include "trainer/run_config.h"
#include "trainer/status/control.h"

namespace grpo {

// What the trainer's command line says.
struct RunArguments {
  LoadedConfig config;
  // Created when it is not there.
  std::string run_dir;
  // Workers and reward servers that name another are refused.
  std::string run_id;
  // Go on from the newest checkpoint in run_dir; without one, from the start.
  bool resume = false;
  // What the models lie on, made ready by UseDevice (model/device.h).
  c10::Device device = c10::kCPU;
  // Go on although the checkpoint was saved on another kind of device.
  bool allow_other_device = false;
  // Port of the services in place of network.trainer_port: a restarted trainer comes back where its workers look for
  // it.
  std::optional<int64_t> port;
  // Under which others reach the services, in place of network.advertise_host; empty: that one.
  std::string advertise_host;
  // The right to write into run_dir; null where nobody else can be there, in tests.
  std::shared_ptr<RunGuard> guard = nullptr;
};

// What a run has around it. Tests give it others. What it refers to outlives the run.
struct RunSurroundings {
  const Clock& clock = Clock::Real();
  // Called before the first stage. What it is given is there until on_ended, which is called when the run has ended.
  std::function<void(Coordinator&, RunControl&)> on_serving = nullptr;
  std::function<void()> on_ended = nullptr;
  // After the last stage: time for watchers to read the terminal state and for workers to hear that the run has ended.
  absl::Duration farewell = absl::Seconds(1);
};

// While the services answer, run_dir holds endpoint.json (common/rpc/endpoint.h).
//
// OK when every stage ran or Stop was called; Aborted when a signal stopped it (state saved: exit 75); Unavailable when
// another rank is gone (all have to start again with `resume`); FailedPrecondition when another process has taken the
// folder, into which nothing more is written then. Other errors end the run as FAILED. Their text, which
// is logged, says what to do. Blocks; one call per process. LoadCheckpoint's errors come before anything is served.
// Rank 0 only; the others are in FollowRankZero meanwhile.
absl::Status ExecuteRun(RunArguments arguments, Collectives* collectives, const RunSurroundings& surroundings = {});

}  // namespace grpo

#endif  // GRPO_TRAINER_RUN_H_
