// What becomes of a run when one of its processes ends: a table of exit and role. Pure; any thread.
#ifndef GRPO_TOOLS_LAUNCH_RESTART_RULES_H_
#define GRPO_TOOLS_LAUNCH_RESTART_RULES_H_

#include <array>

#include "absl/strings/string_view.h"

namespace grpo {

enum class Role {
  // Rank 0 of the trainer: its last word is the run's end.
  kTrainer,
  // The trainer's other ranks. None of the ranks can go on without the others: they are started again together.
  kTrainerRank,
  kRewardServer,
  kRolloutWorker,
};
inline constexpr std::array kRoles = {Role::kTrainer, Role::kTrainerRank, Role::kRewardServer, Role::kRolloutWorker};

// "trainer" (all ranks of it), "reward_server", "rollout_worker": what shares a budget of restarts, and what a process
// says of itself.
absl::string_view RoleName(Role role);

// How a process ended.
enum class Exit {
  kSuccess,
  // "Unavailable", of one of several ranks: another is gone.
  kPeerLost,
  // Another start would end in the same way: usage, data, input, permission, configuration.
  kPermanent,
  kError,
  // By a signal.
  kKilled,
  // It never ran: what starts processes on other machines (Starter, run_plan.h) could not, for the machine may be gone.
  kNotStarted,
};
inline constexpr std::array kExits = {Exit::kSuccess, Exit::kPeerLost, Exit::kPermanent,
                                      Exit::kError,   Exit::kKilled,   Exit::kNotStarted};

// `code` as in common/exit_codes.h, 128+n after signal n; what lies above the last signal is a starter's own word
// (srun's, of Slurm's error numbers). `has_peers`: it is one of several ranks. A code that is none of those is kError.
Exit ClassifyExit(int code, bool has_peers);

// Where the process and the run were.
enum class Phase {
  // The process serves others, this was its first start, and it never came so far.
  kStarting,
  kRunning,
  // The run's end is under way: what leaves now was sent home.
  kEnding,
};
inline constexpr std::array kPhases = {Phase::kStarting, Phase::kRunning, Phase::kEnding};

enum class Reaction {
  // It is gone, and nobody needs it again.
  kNothing,
  // It is started again after a delay, with an attempt number that is higher by one.
  kRestart,
  // All ranks are, those that still run being killed first; one of them that has ended otherwise ends the run.
  kRestartAllRanks,
  // The run is over. Its exit code is that of the process; a success that is none here counts as an internal error.
  kEndRun,
};

// The table. In kEnding only the trainer's end ends the run.
Reaction ReactionTo(Phase phase, Exit exit, Role role);

// "peer_lost", "starting", "restart_all_ranks": as PlanJson has them.
absl::string_view Name(Exit exit);
absl::string_view Name(Phase phase);
absl::string_view Name(Reaction reaction);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_RESTART_RULES_H_
