// Which reward servers there are, and which of them are alive. Pure data: no lock, no clock, no I/O; `now` is an
// argument that never goes back. Thread-compatible.
//
// A server is live until nothing was heard of it for two heartbeat intervals, and again from its next call on. It keeps
// nothing here but its place: a coordinator that was started anew has the whole table again after one interval.
#ifndef GRPO_COORDINATOR_REWARD_TABLE_H_
#define GRPO_COORDINATOR_REWARD_TABLE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/coordinator.pb.h"
#include "proto/trainer.pb.h"

namespace grpo {

class RewardTable {
 public:
  // `heartbeat_interval` is what servers are told to call at, and more than zero.
  explicit RewardTable(absl::Duration heartbeat_interval) : lost_after_(2 * heartbeat_interval) {}

  // Notes where the server of this name serves; the newest call counts. True when that is news: another address, a
  // name that was unknown, or a server that was lost. InvalidArgument for a name or an address that is none,
  // ResourceExhausted above kMaxServers names. A name has 1 to 256 bytes and no control characters, an address is
  // HOST:PORT of at most 256, and a server has at most 256 profiles, whose names and hashes are as a name is.
  absl::StatusOr<bool> Register(const v1::RegisterRewardServerRequest& request, absl::Duration now);

  // The server of this name has left. Nothing happens for an address that has been replaced since.
  void Remove(const std::string& name, const std::string& address);

  // Of the live ones, by name. HOST:PORT, as the servers gave them.
  std::vector<std::string> Addresses(absl::Duration now) const;

  // By name. The lost ones too; each with its state, its profiles and how long ago it called.
  std::vector<v1::RewardServerStatus> Statuses(absl::Duration now) const;

  // Bounds what callers can make the table hold.
  static constexpr int kMaxServers = 1024;

 private:
  struct Server {
    std::string address;
    // What it said that it serves; compared by nobody here.
    std::vector<v1::RewardProfileRef> profiles;
    // When it called last, on the clock of `now`.
    absl::Duration last_seen;
  };

  bool IsLost(const Server& server, absl::Duration now) const { return now - server.last_seen > lost_after_; }

  const absl::Duration lost_after_;
  std::map<std::string, Server> servers_;  // by name
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_REWARD_TABLE_H_
