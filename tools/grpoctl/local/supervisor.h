// Keeps the processes of one run alive: restarts what may die alone, and says when the run is over.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/rpc/client.h"
#include "tools/grpoctl/local/process.h"

namespace grpo {

struct ChildSpec {
  // "rollout-0": unique, names it in messages.
  std::string name;
  // "rollout_worker": children of a role share a budget of restarts.
  std::string role;
  std::string log_path;
  // Where it writes {"address":...} once it serves; empty when it serves nothing.
  std::string endpoint_file;
  // The child that ends the run when it exits by itself, whatever its exit code; killed, it is restarted like the
  // others.
  bool is_trainer = false;
  // Children of a group, when not empty, are restarted together or not at all: none can go on without the others (the
  // ranks of a trainer). One that exits by itself has said its last word, but for the code "unavailable", which says
  // that another of the group is gone.
  std::string group;
  // Environment variables ("NAME=value") of start number `attempt`, beside this process's own; may be null.
  std::function<std::vector<std::string>(int attempt)> environment;
  // Command line of start number `attempt` (from 1). `address` is where it served before, empty at the first start.
  std::function<std::vector<std::string>(int attempt, const std::string& address)> argv;
};

// Why a run is over.
struct RunEnd {
  int exit_code = 0;
  // Which child, how it ended and its last log lines; empty when the trainer exited with 0.
  std::string message;
};

// One thread, which must live as long as the children (process.h).
class Supervisor {
 public:
  struct Options {
    // Restarts of all children of one role together before the run fails.
    int max_restarts_per_role = 10;
    // A child that lived this long starts again without the delay that earlier deaths earned it.
    absl::Duration stable_after = absl::Minutes(1);
    int num_log_lines = 12;
  };

  // `note` receives a line for each death and restart.
  Supervisor(const Options& options, const Clock& clock, std::function<void(const std::string&)> note)
      : options_(options), clock_(clock), note_(std::move(note)) {}

  // Starts a child. Errors as Process::Start.
  absl::Status Start(ChildSpec spec);

  // Reaps and restarts; call it a few times a second. Holds a value once the run is over: the trainer has exited by
  // itself; a server died before it ever served; a child exited with a code that a restart cannot mend (usage, data,
  // input, permission, configuration); or a role's restarts are used up.
  std::optional<RunEnd> Poll();

  // Where a child serves; nothing before it does.
  std::optional<std::string> Address(const std::string& name) const;
  // True when every child that serves does.
  bool AllServe() const;

  // From now on nothing is restarted: the run is ending and its workers leave.
  void StopRestarting() { restarting_ = false; }
  void SignalTrainer(int signal_number);
  // SIGTERM to every child, SIGKILL to those that are still there after `grace`.
  void StopAll(absl::Duration grace);

 private:
  struct Child {
    ChildSpec spec;
    std::unique_ptr<Process> process;  // null while it waits for its restart
    int attempt = 0;
    std::string address;  // where it serves or served last
    bool serves = false;  // in this attempt
    bool done = false;    // has exited with success, and is not needed again
    absl::Duration started_at, restart_at;
    rpc::Backoff backoff;
  };

  absl::Status StartAttempt(Child& child);
  void NoticeEndpoint(Child& child);
  std::optional<RunEnd> OnExit(Child& child, int exit_code);
  // The child, or its whole group.
  std::vector<Child*> Together(Child& child);
  // After `delay`, with whatever of them still runs killed first. Holds a value when one of them had a last word.
  std::optional<RunEnd> RestartTogether(Child& child, absl::Duration delay);
  RunEnd End(const Child& child, int exit_code, const std::string& message) const;

  const Options options_;
  const Clock& clock_;
  const std::function<void(const std::string&)> note_;
  std::vector<std::unique_ptr<Child>> children_;
  std::map<std::string, int> restarts_by_role_;
  bool restarting_ = true;
};

// "exit code 78", "signal 9 (Killed)".
std::string DescribeExit(int exit_code);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_H_
