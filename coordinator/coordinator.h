// Groups, leases and workers of one run, in the trainer's rank 0. The trainer offers groups and collects them whole and
// in order; workers lease them and hand them in (coordinator/service.h puts this on the wire).
//
// A group is pending, leased (attempt, expiry), ready or quarantined, and at last collected. Invariants:
//   1. a group is collected once, whole, with the completions of exactly one attempt;
//   2. attempts of a group only grow; a result is taken only from the worker that holds the current attempt in this
//      epoch (a lease that ran out is still held until somebody else takes the group);
//   3. what is collected depends on which groups were offered, never on which worker was first: Collect answers in
//      group order;
//   4. a group is quarantined when its holder died twice, the second time holding nothing else; a worker that is alive,
//      or that said what else blocks it (a reward server that is away), blames nothing.
// Leases run out by the Clock, which is read on every call and when a wait ends. Thread-safe. Nothing here does I/O.
#ifndef GRPO_COORDINATOR_COORDINATOR_H_
#define GRPO_COORDINATOR_COORDINATOR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "coordinator/lease_table.h"
#include "coordinator/options.h"
#include "coordinator/reward_table.h"
#include "coordinator/scored_group.h"
#include "coordinator/staleness.h"
#include "coordinator/weight_source.h"
#include "coordinator/worker_table.h"
#include "proto/coordinator.pb.h"
#include "proto/trainer.pb.h"
#include "proto/types.pb.h"

namespace grpo {

class Coordinator {
 public:
  struct Identity {
    std::string run_id;
    std::string config_sha256;
    int64_t epoch = 1;
    // Ways in which workers can fetch weights here (rollout/weight_channel.h), the best first.
    std::vector<std::string> weight_channels = {"grpc"};
  };
  Coordinator(CoordinatorOptions options, Identity identity, const Clock& clock = Clock::Real());

  // --- The trainer's side ---

  // Makes groups available: each is leased while weights that it may hold are published. Of each lease kind, stage,
  // group_index, seed, policy, sampling, prompt and reward are read; the key's attempt and epoch and the ttl are set
  // here. AlreadyExists for a group that was offered before, ResourceExhausted beyond coordinator.max_buffered_groups,
  // InvalidArgument for a kind that submission.h does not know.
  absl::Status Offer(const std::vector<v1::Lease>& groups);

  // The group was quarantined in an earlier start of this run: once offered it counts as done and is never leased. Call
  // before it is offered.
  void Quarantine(const std::string& stage, int64_t group_index);

  // The groups that were quarantined since the last call, in the order in which they were. Whoever collects asks for
  // them too.
  std::vector<QuarantinedGroup> TakeQuarantined();

  // While `leasing` is false nothing is leased; what is leased stays with its worker.
  void SetLeasing(bool leasing);

  // Waits until groups first .. first+count-1 of `stage` are all done, then removes them and returns them in order,
  // without those that were quarantined. Also says, for good, that the trainer waits for these: they are leased however
  // full the buffer is. DeadlineExceeded after `timeout`: nothing is removed, call again. InvalidArgument, at once,
  // when a worker said that one of them can never be produced. Aborted after End().
  absl::StatusOr<std::vector<ScoredGroup>> Collect(const std::string& stage, int64_t first, int64_t count,
                                                   absl::Duration timeout);

  // Keeps `weights` for workers to pull and forgets every other version of the same policy that no group may hold from
  // now on.
  void Publish(std::shared_ptr<const WeightSource> weights);

  // How many of these groups are ready now.
  int64_t NumReady(const std::string& stage, int64_t first, int64_t count) const;

  // Empty while somebody can make progress. Otherwise why not, in words: no worker registered or every live worker is
  // blocked. "waiting for ..." causes shorter than `tolerance` are not reported.
  std::string BlockedReason(absl::Duration tolerance) const;

  // No further leases; workers are told to exit; a waiting Collect returns. Idempotent.
  void End();

  std::vector<v1::WorkerStatus> Workers() const;
  std::vector<v1::RewardServerStatus> RewardServers() const;
  v1::LeaseCounters Counters() const;

  // --- The side of workers and reward servers: one method per rpc, with its errors (proto/coordinator.proto) ---

  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request);
  absl::StatusOr<v1::LeaseGroupsResponse> LeaseGroups(const v1::LeaseGroupsRequest& request);
  absl::StatusOr<v1::SubmitCompletionResponse> Submit(const v1::SubmitHeader& header,
                                                      std::vector<v1::ScoredCompletion> completions);
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request);
  absl::StatusOr<std::shared_ptr<const WeightSource>> Weights(const v1::PolicyRef& policy) const;
  absl::StatusOr<v1::RegisterRewardServerResponse> RegisterRewardServer(const v1::RegisterRewardServerRequest& request);

  // LeaseGroups waits this long at most, whatever the worker asks for.
  static constexpr absl::Duration kMaxLeaseWait = absl::Seconds(10);
  // Reward servers call at least this often, whatever the heartbeat interval: the answer tells them of the run's end,
  // after which the trainer stays a second.
  static constexpr absl::Duration kMaxRewardServerInterval = absl::Milliseconds(500);

 private:
  absl::Status CheckHandshake(const v1::RegisterRequest& request) const;
  // The leases as they are now. Every use goes through here, before the worker that calls is noted as heard of: whether
  // it had died does not depend on who else called meanwhile.
  LeaseTable& Leases() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether weights that the group may hold are published.
  bool IsSamplable(const v1::Lease& group) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The digest of a version that was published at any time; empty when it never was.
  std::string DigestOf(const v1::PolicyRef& policy) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // LeaseTable::Find for this submission, with the refused and duplicate counted.
  absl::StatusOr<const v1::Lease*> FindForSubmit(const v1::SubmitHeader& header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CoordinatorOptions options_;
  const Identity identity_;
  const Clock& clock_;
  const StalenessPolicy staleness_ = {};

  mutable absl::Mutex mutex_;
  // Mutable because leases run out between calls, const ones included.
  mutable LeaseTable leases_ ABSL_GUARDED_BY(mutex_);
  WorkerTable workers_ ABSL_GUARDED_BY(mutex_);
  RewardTable reward_servers_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool leasing_ ABSL_GUARDED_BY(mutex_) = true;
  // policy_id -> number -> the versions that are kept.
  std::map<std::string, std::map<int64_t, std::shared_ptr<const WeightSource>>> weights_ ABSL_GUARDED_BY(mutex_);
  // policy_id -> number -> digest, of every version ever published: a group is checked against the version of its
  // lease.
  std::map<std::string, std::map<int64_t, std::string>> digests_ ABSL_GUARDED_BY(mutex_);
  int64_t num_refused_total_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_duplicate_total_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_COORDINATOR_H_
