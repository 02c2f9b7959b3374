// One run on this machine: which processes there are, in what order they start, and what is shown while they run.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_LOCAL_RUN_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_LOCAL_RUN_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/grpoctl/client/status_stream.h"
#include "tools/grpoctl/local/progress.h"
#include "tools/grpoctl/local/run_folder.h"
#include "tools/grpoctl/local/supervisor.h"
#include "trainer/run_config.h"

namespace grpo {

// Paths of the other processes' programs.
struct Programs {
  std::string reward_server, trainer, rollout_worker;
  // Beside this program or where the build puts them relative to it. NotFound names what is missing and how to build
  // it.
  static absl::StatusOr<Programs> Find();
};

// Starts reward servers and trainer, workers once those serve, and watches all of them until the trainer exits. The
// first SIGTERM or SIGINT is passed to the trainer, which saves and exits with 75; the second ends everything
// (common/stop_signal.h). One thread, the process's main thread; InstallStopSignal must have been called.
class LocalRun {
 public:
  struct Options {
    bool resume = false;
    int max_restarts_per_role = 10;
  };

  LocalRun(const RunFolder& folder, const RunConfig& config, const Programs& programs, const std::string& run_id,
           const Options& options, ProgressPrinter* printer);

  // Returns the run's exit code, after every process has ended. What went wrong has been shown.
  int Run();

 private:
  absl::Status StartServers();
  absl::Status StartRank(int64_t rank);
  absl::Status StartWorkers();
  // Once the servers serve: endpoint.json, workers, progress.
  absl::Status GoOn();
  RunEnd Watch();
  void ShowStatus();
  // Where the trainer's ranks of this start meet.
  int MasterPort(int attempt);
  ChildSpec Spec(const std::string& name, const std::string& role, bool serves) const;

  const RunFolder& folder_;
  const RunConfig& config_;
  const Programs programs_;
  const std::string run_id_;
  const Options options_;
  ProgressPrinter* const printer_;
  Supervisor supervisor_;
  bool workers_started_ = false;
  int master_port_ = 0, master_port_attempt_ = 0;
  std::unique_ptr<BackgroundStatus> status_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_LOCAL_RUN_H_
