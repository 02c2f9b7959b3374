// One run on this machine: executes its plan (tools/launch/run_plan.h) and shows how it goes.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_LOCAL_RUN_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_LOCAL_RUN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/client.h"
#include "tools/grpoctl/client/progress.h"
#include "tools/grpoctl/client/status_stream.h"
#include "tools/grpoctl/local/answer_watch.h"
#include "tools/grpoctl/local/supervisor.h"
#include "tools/launch/run_plan.h"

namespace grpo {

// The programs beside this one or where the build puts them relative to it. NotFound names what is missing and how to
// build it. Their paths are absolute.
absl::StatusOr<Programs> FindPrograms();

// Starts each process of a plan once what it waits for serves, and watches all of them until the trainer exits. A stop
// (common/stop_signal.h) is passed to the trainer, which saves and exits with 75; what else may happen then is a table
// of Supervisor::Stop. SIGQUIT goes to every process. One thread, the process's main thread; InstallStopSignal must
// have been called, and the run folder must be locked.
class LocalRun {
 public:
  struct Options {
    // Supervisor::Options.
    int max_restarts_per_role = 10;
    // How long the trainer may take for its end after a stop (trainer.stop_within_s). Everything else ends within
    // kStopSlack more.
    absl::Duration stop_within = absl::Minutes(5);
    // How status is asked for.
    rpc::ClientOptions client = {};
  };

  // For a trainer that sees its own bound passed, and for the other processes.
  static constexpr absl::Duration kStopSlack = absl::Seconds(30);

  // A plan for this machine: PlanRequest::hosts was empty. `printer` outlives it.
  LocalRun(const RunPlan& plan, const Options& options, ProgressPrinter* printer);

  // Returns the run's exit code, after every process has ended. What went wrong has been shown. As in
  // common/exit_codes.h: the trainer's, or the supervisor's where the run ended otherwise. Removes endpoint.json, which
  // a killed trainer leaves. Blocks; once.
  int Run();

 private:
  // The processes that are not started yet, and need nobody who does not serve; none once a stop was requested.
  absl::Status StartThoseThatCan();
  // Once the trainer serves.
  absl::Status FollowStatus(const std::string& trainer_address);
  // What can be done now: starts processes, follows the status. An error ends the run.
  absl::Status GoOn();
  // Until the run is over.
  RunEnd Watch();
  // The newest snapshot, if there is one; after a terminal one nothing is restarted. Without one: how long already.
  void ShowStatus();
  // Waits a moment; less when a stop is requested, which is passed on. Later says now and then for what it waits.
  void WaitAndStop();
  // SIGQUITs that came since the last call.
  void PassQuitsOn();

  const RunPlan plan_;
  const Options options_;
  ProgressPrinter* const printer_;
  Supervisor supervisor_;
  // Of each process of the plan.
  std::vector<bool> started_;
  // Null before the trainer serves and after the run's last snapshot; followed_ says that it was there.
  std::unique_ptr<BackgroundStatus> status_;
  bool followed_ = false;
  AnswerWatch answers_;
  // When a stop was passed on, and when its wait was last spoken of.
  std::optional<absl::Duration> stopped_at_;
  absl::Duration reminded_at_;
  int64_t num_quits_ = 0;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_LOCAL_RUN_H_
