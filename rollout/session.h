// A worker's membership in a run: registers it, renews its leases by heartbeats, tells what blocks it, and says when it
// is to end.
//
// One thread of its own, on a channel of its own, does all registering and all heartbeats: neither a long decode step
// nor a slow pull of weights makes a worker look dead. It survives the coordinator: whoever meets an unknown worker_id
// says so, and the thread registers again while leases, weights and results are kept.
#ifndef GRPO_ROLLOUT_SESSION_H_
#define GRPO_ROLLOUT_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/client.h"
#include "proto/coordinator.grpc.pb.h"
#include "rollout/in_flight_calls.h"

namespace grpo {

// "r1_zero/17 attempt 2 epoch 1", for messages. Pure.
std::string LeaseName(const v1::LeaseKey& key);

// Thread-safe.
class Session {
 public:
  // What the worker says of itself; empty run_id and config_sha256 join whatever run is served.
  struct Identity {
    // worker_name is the slot's: a restart registers under the same with the next attempt.
    std::string run_id, config_sha256, worker_name;
    // From 1.
    int32_t worker_attempt = 1;
    // Of WeightChannelNames; the coordinator picks one.
    std::vector<std::string> weight_channels = {};
  };

  // `client`: the channel for registering and heartbeats. Starts the thread. Returns at once: whether the coordinator
  // can be reached shows in WorkerId and status.
  Session(std::shared_ptr<rpc::Client> client, Identity identity);
  // Ends the session and joins the thread. A call that is under way is cancelled, so this takes no longer than that;
  // after End(Aborted) the coordinator is told, for a second at most, that the worker leaves.
  ~Session();

  // Waits for the registration; empty once the session has ended. Another after each new registration at a coordinator
  // that was started anew. Blocks as long as no coordinator answers.
  std::string WorkerId();
  // Which weight channel was agreed on, with its address (coordinator/weight_channels.h); otherwise as WorkerId.
  std::string WeightChannelName();
  // If this answer to a call of `worker_id` says that the coordinator does not know the worker (NOT_FOUND,
  // UNAUTHENTICATED), the thread registers again, WorkerId() waits for it, and this returns true.
  bool RegisterAgainIfUnknown(const absl::Status& answer, const std::string& worker_id);

  // Ends the session: calls in flight are cancelled, everybody who waits returns. The first status stays. Aborted means
  // that the worker was stopped: its leases are then given back at once instead of running out.
  void End(absl::Status why);
  // The coordinator said that the run has ended.
  void RunEnded();
  bool ended() const;
  // Sleeps at most `timeout`; true as soon as the session has ended.
  bool WaitForEnd(absl::Duration timeout) const;
  // OK while it lasts and after the run's end; otherwise why it ended: the coordinator's refusal (rpc::IsRefusal), or
  // what End was given.
  absl::Status status() const;

  // A lease is renewed by every heartbeat from Track to Untrack. `id` is the caller's own. Until this call the id
  // counts as inactive.
  void Track(int64_t id, const v1::LeaseKey& key);
  // An id that is not tracked is ignored.
  void Untrack(int64_t id);
  // False after Untrack, and once the coordinator has given the lease to another.
  bool IsActive(int64_t id) const;
  // Leases that were lost since the last call. They are untracked already.
  std::vector<int64_t> TakeLost();

  // Why lease `id` cannot go on; heartbeats report the oldest of these, from the first SetBlocked on. Untrack clears
  // it too. Nothing happens for a lease that is not active. One that blocks the run, whatever other workers do, goes
  // before those that do not.
  void SetBlocked(int64_t id, const std::string& reason, bool blocks_run = false);
  // The lease goes on.
  void ClearBlocked(int64_t id);

  // The weights that the worker holds now, and the tokens it sampled since the last call. Both are told with the next
  // heartbeat.
  void SetHeld(const v1::PolicyRef& policy, const std::string& digest);
  void AddTokens(int64_t count);

  // The reward servers (HOST:PORT) that the coordinator knew of last; empty while it never knew of any.
  std::vector<std::string> RewardServers() const;

  // Every call on behalf of the worker registers here.
  InFlightCalls& calls() { return calls_; }

 private:
  struct Blocked {
    // As heartbeats report it.
    std::string reason;
    // When the lease was first blocked; a new reason does not change it.
    absl::Duration since;
    bool blocks_run = false;
  };

  // The thread: registers, then heartbeats until the end. A refusal of the registration ends the session; any other
  // error is tried again.
  void Loop();
  // One attempt each; they change the fields below when it is answered.
  absl::Status Register();
  absl::Status Heartbeat();
  // Tells the coordinator that this worker will not finish what it holds.
  void Leave();
  // Everything that a heartbeat says, as it is now.
  v1::HeartbeatRequest MakeHeartbeat() const;
  // Of an answer. A coordinator that knows of none was started a moment ago, or nobody answers it: what was known is
  // tried further.
  template <typename Response>
  void TakeRewardServers(const Response& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (response.reward_servers().empty()) return;
    reward_servers_.assign(response.reward_servers().begin(), response.reward_servers().end());
  }
  // Until the next call.
  absl::Duration Interval() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EndedOrRegistered() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || !worker_id_.empty(); }

  const std::shared_ptr<rpc::Client> client_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  const Identity identity_;
  InFlightCalls calls_;

  mutable Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  // Set to send a heartbeat (or to register) at once. Cleared at the beginning of each round.
  bool wake_ ABSL_GUARDED_BY(mutex_) = false;
  // Empty while not registered. WorkerId waits for it.
  std::string worker_id_ ABSL_GUARDED_BY(mutex_);
  std::string weight_channel_ ABSL_GUARDED_BY(mutex_);
  // What the registration named.
  absl::Duration interval_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(1);
  // By the caller's id. active_: tracked and not lost; lost_: lost, and not yet taken by TakeLost; blocked_: those of
  // active_ that cannot go on.
  std::map<int64_t, v1::LeaseKey> active_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> lost_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Blocked> blocked_ ABSL_GUARDED_BY(mutex_);
  // What the coordinator said last that was not empty.
  std::vector<std::string> reward_servers_ ABSL_GUARDED_BY(mutex_);
  // Empty digest: the worker holds no policy yet.
  v1::PolicyRef held_policy_ ABSL_GUARDED_BY(mutex_);
  std::string held_digest_ ABSL_GUARDED_BY(mutex_);
  // Since the session began; heartbeats tell the sum.
  int64_t num_tokens_ ABSL_GUARDED_BY(mutex_) = 0;

  // The last member: it uses all others.
  std::thread thread_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SESSION_H_
