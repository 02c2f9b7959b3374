// What a run consists of: which processes, on which machine, with which command and environment, what each needs, and
// what becomes of the run when one ends (restart_rules.h). Nothing else knows: `grpoctl run` executes a plan on this
// machine, launchers render it for theirs. Pure: reads nothing, starts nothing; any thread. No torch.
//
//   role             how many                 on which of the hosts       serves             after
//   trainer          trainer.ranks            in blocks; rank 0 on the    rank 0, the        -
//                                             first host                  coordinator
//   reward_server    reward_server.servers    in turn                     scores; registers  rank 0 serves
//   rollout_worker   rollout_worker.workers   in turn                     nothing            rank 0 serves
//
// Without `rewards` in the configuration nothing samples, and there are ranks alone.
// Rank 0's address is all that the others must know: reward servers register there, and workers learn of them there.
#ifndef GRPO_TOOLS_LAUNCH_RUN_PLAN_H_
#define GRPO_TOOLS_LAUNCH_RUN_PLAN_H_

#include <signal.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/launch/places.h"
#include "tools/launch/restart_rules.h"
#include "trainer/run_config.h"

namespace grpo {

// What is known only when a process starts.
enum class Late {
  kNone,
  // Number of this start, from 1.
  kAttempt,
  // Starts before this one, from 0.
  kRestarts,
  // PlannedProcess::port, or where it served before: a server comes back where others look for it.
  kPort,
  // HOST:PORT of rank 0.
  kTrainerAddress,
  // A free port, the same for all ranks of one start.
  kRendezvousPort,
  // Descriptor of the run folder's lock, which the process inherits.
  kLockFd,
};

// `text`, and behind it what is known late.
struct Word {
  std::string text;
  Late late = Late::kNone;
};

// What Late stands for when a process starts.
struct LateValues {
  // For kAttempt; kRestarts is one less.
  int attempt = 1;
  int64_t port = 0;
  std::string trainer_address;
  int rendezvous_port = 0;
  // -1: the process takes the lock itself.
  int lock_fd = -1;
};
// One text for each word: its `text`, and behind it the value.
std::vector<std::string> Fill(const std::vector<Word>& words, const LateValues& values);

// What starts a process on its machine in place of whoever executes the plan, such as srun: a child that lives as long
// as the process, ends with its exit code, and says by a code above that of any signal that it could not start it
// (restart_rules.h).
struct Starter {
  // Words before the process's own; "{host}" and "{name}" in them stand for the process's. None: nothing is between.
  std::vector<std::string> argv;
  // What it passes on and the process stops by, and by what it kills the process and ends once that is gone.
  int stop_signal = SIGTERM, kill_signal = SIGKILL;
};

// One process, as whoever starts it needs to know it.
struct PlannedProcess {
  // "trainer", "trainer-1", "reward-0", "rollout-0": unique.
  std::string name;
  Role role = Role::kRolloutWorker;
  // One of RunPlan::hosts.
  std::string host;
  // Without argv: a child.
  Starter starter;
  // argv[0] is the program's path.
  std::vector<Word> argv;
  // "NAME=value", beside what the launcher's own environment holds.
  std::vector<Word> environment;
  // At its first start; 0 lets the system choose, or it serves nothing.
  int64_t port = 0;
  // Where its stdout and stderr go.
  std::string log_path;
  // Where it writes its address once it serves (common/rpc/endpoint.h); empty when it serves nothing, or nobody looks
  // there.
  std::string endpoint_path;
  // Processes that must serve before it starts.
  std::vector<std::string> after;
  // Files and folders that only this process reads; it must see them under these paths.
  std::vector<std::string> reads;
  // Folders that it writes and must find again when it is started next: where that may be on another machine, they have
  // to be on a file system that both see.
  std::vector<std::string> keeps;
};

// A whole run. Value semantics.
struct RunPlan {
  std::string run_id, run_dir;
  // The first is rank 0's.
  std::vector<std::string> hosts;
  // In the order in which they start.
  std::vector<PlannedProcess> processes;
  // Files and folders that every process must see under these paths, and that none of them writes, so that a copy on each
  // machine will do: config.yaml, programs, tokens and certificates. But for the run's own certificates: rank 0 renews
  // those (run_certificates.h).
  std::vector<std::string> shared;
};

// Paths of the processes' programs, the same on every host.
struct Programs {
  std::string reward_server, trainer, rollout_worker;
};

// What a plan depends on beside the configuration.
struct PlanRequest {
  // Absolute; holds config.yaml.
  std::string run_dir;
  // RunFolder::RunId's, or a launcher's own.
  std::string run_id;
  Programs programs;
  // Names or addresses under which the machines reach each other. None: this machine alone, its processes children of
  // whoever executes the plan, ports found as they start.
  std::vector<std::string> hosts = {};
  // Folder of the run's certificates as every process sees it, where the run makes its own (run_certificates.h); empty:
  // RUN/tls. Each process that serves or calls is told of it by --tls-dir and takes the files of its role.
  std::string tls_dir = {};
  // Go on from the newest checkpoint.
  bool resume = false;
  // Of each host, where that is not its name.
  std::vector<std::string> addresses = {};
  // By role (RoleName). With any, whoever asks executes the plan itself, on the first of the hosts: ports are found as
  // processes start, as on one machine, and hosts may share an address.
  std::map<std::string, Starter> starters = {};
  // By role, for hosts (PlacesOf). Without: ranks in blocks, the others in turn.
  std::map<std::string, RoleHosts> places = {};
  // Without hosts: this machine's GPUs, which ranks and workers share out (tools/launch/gpus.h); none: there are none. On
  // hosts each process sees what its launcher gives it, by launch.<role>.gpus_per_process.
  std::vector<std::string> gpus = {};
  // Of the trainer: go on although the checkpoint was saved on another kind of device.
  bool allow_other_device = false;
};

// InvalidArgument names each key that a run on these hosts needs otherwise: a port that all must know, an address that
// the others reach, a network for the ranks. Also for hosts that are too few for the places, and for one that is named
// twice. `config` is LoadRunConfig's. The same arguments give the same plan.
absl::StatusOr<RunPlan> MakeRunPlan(const RunConfig& config, const PlanRequest& request);

// Which processes need a file system that several machines see, and for what; for people, a line each. With several
// processes of a role "rollout-0 to rollout-3".
std::string FileSystemText(const RunPlan& plan);

// All of it, restart rules included, for people, tests and programs. Late words end in their name: "<attempt>". Keys in
// a fixed order, so that a golden file can hold it.
std::string PlanJson(const RunPlan& plan);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_RUN_PLAN_H_
