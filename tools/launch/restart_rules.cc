#include "tools/launch/restart_rules.h"

#include "common/exit_codes.h"

namespace grpo {
namespace {

constexpr Reaction kNothing = Reaction::kNothing, kRestart = Reaction::kRestart, kAllRanks = Reaction::kRestartAllRanks,
                   kEndRun = Reaction::kEndRun;

// Of Linux (SIGRTMAX), as the kernel counts them.
constexpr int kLastSignal = 64;

using Table = Reaction[kExits.size()][kRoles.size()];

// A server that does not even start does not fit this machine or this configuration.
constexpr Table kStartingTable = {
    // kTrainer  kTrainerRank  kRewardServer  kRolloutWorker
    {kEndRun, kNothing, kEndRun, kRestart},      // kSuccess
    {kAllRanks, kAllRanks, kEndRun, kRestart},   // kPeerLost
    {kEndRun, kEndRun, kEndRun, kEndRun},        // kPermanent
    {kEndRun, kEndRun, kEndRun, kRestart},       // kError
    {kEndRun, kAllRanks, kEndRun, kRestart},     // kKilled
    {kAllRanks, kAllRanks, kRestart, kRestart},  // kNotStarted
};

// A rank that was killed goes on from the last commit with the others; one that ended by itself has said its last word.
// A worker or a reward server that was sent home ends with success: the trainer's end follows, or it is needed again.
constexpr Table kRunningTable = {
    // kTrainer  kTrainerRank  kRewardServer  kRolloutWorker
    {kEndRun, kNothing, kRestart, kRestart},     // kSuccess
    {kAllRanks, kAllRanks, kRestart, kRestart},  // kPeerLost
    {kEndRun, kEndRun, kEndRun, kEndRun},        // kPermanent
    {kEndRun, kEndRun, kRestart, kRestart},      // kError
    {kAllRanks, kAllRanks, kRestart, kRestart},  // kKilled
    {kAllRanks, kAllRanks, kRestart, kRestart},  // kNotStarted
};

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kTrainer:
    case Role::kTrainerRank:
      return "trainer";
    case Role::kRewardServer:
      return "reward_server";
    case Role::kRolloutWorker:
      return "rollout_worker";
  }
  return "";
}

Exit ClassifyExit(int code, bool has_peers) {
  if (code > kExitSignalBase + kLastSignal) return Exit::kNotStarted;
  if (code > kExitSignalBase) return Exit::kKilled;
  switch (code) {
    case kExitOk:
      return Exit::kSuccess;
    case kExitUnavailable:
      return has_peers ? Exit::kPeerLost : Exit::kError;
    case kExitUsage:
    case kExitData:
    case kExitNoInput:
    case kExitNotAllowed:
    case kExitConfig:
      return Exit::kPermanent;
    default:
      return Exit::kError;
  }
}

Reaction ReactionTo(Phase phase, Exit exit, Role role) {
  if (phase == Phase::kEnding) return role == Role::kTrainer ? kEndRun : kNothing;
  const Table& table = phase == Phase::kStarting ? kStartingTable : kRunningTable;
  return table[static_cast<int>(exit)][static_cast<int>(role)];
}

absl::string_view Name(Exit exit) {
  constexpr absl::string_view kNames[] = {"success", "peer_lost", "permanent", "error", "killed", "not_started"};
  return kNames[static_cast<int>(exit)];
}

absl::string_view Name(Phase phase) {
  constexpr absl::string_view kNames[] = {"starting", "running", "ending"};
  return kNames[static_cast<int>(phase)];
}

absl::string_view Name(Reaction reaction) {
  constexpr absl::string_view kNames[] = {"nothing", "restart", "restart_all_ranks", "end_run"};
  return kNames[static_cast<int>(reaction)];
}

}  // namespace grpo
