// Keeps the processes of one run alive on this machine: restarts what may die alone, and says when the run is over
// (tools/launch/restart_rules.h is the table).
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
#include "tools/launch/restart_rules.h"
#include "tools/launch/run_plan.h"

namespace grpo {

// Why a run is over.
struct RunEnd {
  int exit_code = 0;
  // Which process, how it ended and its last log lines; empty when the trainer exited with 0.
  std::string message;
};

// One thread, which must live as long as the children (process.h).
class Supervisor {
 public:
  struct Options {
    // Restarts of all children of one role together before the run fails; ranks that start together count once.
    int max_restarts_per_role = 10;
    // A child that lived this long starts again without the delay that earlier deaths earned it.
    absl::Duration stable_after = absl::Minutes(1);
    // Of a RunEnd's message.
    int num_log_lines = 12;
    // A process that cannot be started on its machine (Exit::kNotStarted) is tried again after so long, any number of
    // times: the run goes on without it. But of a rank's, so many tries in a row end the run with 75, to be queued again
    // for other machines.
    absl::Duration start_again_after = absl::Seconds(30);
    int max_failed_starts = 3;
    // Of the run folder's lock, handed down to the trainer's rank 0; -1: none.
    int lock_fd = -1;
  };

  // `note` receives a line for each death and restart. `clock` outlives it.
  Supervisor(const Options& options, const Clock& clock, std::function<void(const std::string&)> note)
      : options_(options), clock_(clock), note_(std::move(note)) {}

  // Starts a child; what it waits for (`after`) serves. Errors as Process::Start. Names are unique. A child that is
  // started again keeps its port and gets the next attempt number.
  absl::Status Start(const PlannedProcess& process);

  // Reaps and restarts; call it a few times a second. Holds a value once the run is over: by the table, or because a
  // role's restarts are used up. After that only StopAll may follow.
  std::optional<RunEnd> Poll();

  // HOST:PORT where a child serves; nothing before it does. Nothing, too, while it waits for its restart.
  std::optional<std::string> Address(const std::string& name) const;

  // From now on nothing is restarted: the run is ending and its workers leave.
  void StopRestarting() { restarting_ = false; }
  // Ends the run within `bound`, by what Poll returns from then on. What that is depends on the trainer's rank 0:
  //   not started, or waiting to be started again   75 at once: there is no step to save
  //   there                                         SIGTERM, so that it saves; its own exit code when it has ended
  //     ... ends by a signal, or loses a rank       75: the checkpoint before stands
  //     ... does not end within `bound`             it is killed; 75
  // What went wrong is a note. Call once.
  void Stop(absl::Duration bound);
  // To every process that there is. SIGTERM as what a starter passes on; SIGQUIT not where there is a starter, which
  // would take it for itself.
  void SignalAll(int signal_number);
  // Of the trainer's rank 0, while it is there; `serving`: only while it serves. Behind a starter it is known only then.
  std::optional<int> TrainerPid(bool serving) const;
  // SIGTERM to every child, SIGKILL to those that are still there after `grace`. Blocks until all are gone.
  void StopAll(absl::Duration grace);

 private:
  // A process that was started, and what is known of it.
  struct Child {
    PlannedProcess plan;
    std::unique_ptr<Process> process;  // null while it waits for its restart
    // Number of its newest start, from 1.
    int attempt = 0;
    std::string address;    // where it serves or served last
    bool serves = false;    // in this attempt
    int served_pid = 0;     // of the process that serves
    int failed_starts = 0;  // in a row
    bool done = false;      // is gone, and nobody needs it again
    // When its newest attempt began; not before when the next may, while `process` is null.
    absl::Duration started_at, restart_at;
    // Delays between its starts, longer after each death.
    rpc::Backoff backoff;
  };

  // The child's next attempt, with all that is known late filled in. Removes the endpoint file of the one before.
  absl::Status StartAttempt(Child& child);
  // Reads where the child serves, once in each attempt.
  void NoticeEndpoint(Child& child);
  // What Stop promises; nothing while it has to wait.
  std::optional<RunEnd> EndOfStop();
  // Rank 0; null before it was started.
  Child* Trainer() const;
  // For ReactionTo: kEnding once nothing is restarted.
  Phase PhaseOf(const Child& child) const;
  // For a starter as it takes them.
  static void Send(const Child& child, int signal_number);
  // The run is over because the child ended; `ended` says it in words.
  RunEnd EndBy(const Child& child, Exit exit, int exit_code, const std::string& ended) const;
  // It could not be started on its machine. Holds a value when the run is over.
  std::optional<RunEnd> OnFailedStart(Child& child, int exit_code);
  // Does what the table says. Holds a value when the run is over.
  std::optional<RunEnd> OnExit(Child& child, int exit_code);
  // The trainer's ranks.
  std::vector<Child*> Ranks() const;
  // Whether it is one of several ranks.
  bool HasPeers(const Child& child) const;
  // Where the ranks of this start meet.
  int RendezvousPort(int attempt);
  // After `delay`, with those that still run killed first. Holds a value when one of them had another last word.
  std::optional<RunEnd> RestartAllRanks(absl::Duration delay);
  // Ends what is left of the process; Poll starts it again after `delay`.
  void RestartLater(Child& child, absl::Duration delay);
  // With the last lines of the child's log, cut and made printable.
  RunEnd End(const Child& child, int exit_code, const std::string& message) const;

  const Options options_;
  const Clock& clock_;
  const std::function<void(const std::string&)> note_;
  // In the order of Start.
  std::vector<std::unique_ptr<Child>> children_;
  // By RoleName.
  std::map<std::string, int> restarts_by_role_;
  bool restarting_ = true;
  // Since Stop: until when the trainer has time, and how much that was.
  std::optional<absl::Duration> stop_until_;
  absl::Duration stop_bound_;
  // The port of the ranks' start number rendezvous_attempt_.
  int rendezvous_port_ = 0, rendezvous_attempt_ = 0;
};

// "exit code 78", "signal 9 (Killed)". `exit_code` is 128+n after signal n. Pure.
std::string DescribeExit(int exit_code);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_H_
