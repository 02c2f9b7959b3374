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

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "coordinator/lease_table.h"
#include "coordinator/local_workers.h"
#include "coordinator/options.h"
#include "coordinator/reward_table.h"
#include "coordinator/scored_group.h"
#include "coordinator/staleness.h"
#include "coordinator/submission.h"
#include "coordinator/weight_source.h"
#include "coordinator/worker_table.h"
#include "proto/coordinator.pb.h"
#include "proto/trainer.pb.h"
#include "proto/types.pb.h"

namespace grpo {

class Coordinator {
 public:
  // Which run this is: what callers are compared with.
  struct Identity {
    // A caller that names another run is refused; one that names none joins.
    std::string run_id;
    // Of the resolved configuration, in hex; workers that have another are refused. Empty in a worker's request asks
    // for no comparison.
    std::string config_sha256;
    // Grows with each start of this run's coordinator: leases and worker ids of an earlier one are refused.
    int64_t epoch = 1;
    // Ways in which workers can fetch weights here (coordinator/weight_channels.h), the best first.
    std::vector<std::string> weight_channels = {"grpc"};
  };
  // `clock` outlives the coordinator. The options must have been loaded (their ranges are not checked again).
  Coordinator(CoordinatorOptions options, Identity identity, const Clock& clock = Clock::Real());

  // --- The trainer's side ---

  // Makes groups available: each is leased while weights that it may hold are published, and a group of an endpoint
  // policy at once. Of each lease kind, stage, group_index, seed, policy, endpoint, sampling, prompt and reward are
  // read; the key's attempt and epoch and the ttl are set here. AlreadyExists for a group that was offered before,
  // ResourceExhausted beyond coordinator.max_buffered_groups, InvalidArgument for a kind that submission.h does not
  // know, and for a group of an endpoint policy that needs token ids. InvalidArgument also for a negative index or a
  // group of no completions. All groups or none.
  absl::Status Offer(const std::vector<v1::Lease>& groups);

  // The group was quarantined in an earlier start of this run: once offered it counts as done and is never leased. Call
  // before it is offered. Counted in num_quarantined_total; TakeQuarantined does not name it again.
  void Quarantine(const std::string& stage, int64_t group_index);

  // The groups that were quarantined since the last call, in the order in which they were. Whoever collects asks for
  // them too.
  std::vector<QuarantinedGroup> TakeQuarantined();

  // Reward profile -> names of its rules, in order: scores of a submission must have these from now on. Those of a
  // profile that is not named may have any.
  void ExpectRules(std::map<std::string, std::vector<std::string>> rules);

  // A further way for workers to fetch weights, better than those that there are, for those that register from now on.
  void AddWeightChannel(std::string channel);
  // What the buffers of such a way take (coordinator/local_weights.h).
  void SetWeightBufferBytes(int64_t num_bytes) { weight_buffer_bytes_.store(num_bytes); }
  int64_t weight_buffer_bytes() const { return weight_buffer_bytes_.load(); }

  // Those of the workers that run on this machine.
  LocalWorkers& local_workers() { return local_workers_; }
  const LocalWorkers& local_workers() const { return local_workers_; }

  // While `leasing` is false nothing is leased; what is leased stays with its worker. True after construction.
  void SetLeasing(bool leasing);

  // Waits until groups first .. first+count-1 of `stage` are all done, then removes them and returns them in order,
  // without those that were quarantined. Also says, for good, that the trainer waits for these: they are leased however
  // full the buffer is. DeadlineExceeded after `timeout`: nothing is removed, call again. InvalidArgument, at once,
  // when a worker said that one of them can never be produced. Aborted after End(). FailedPrecondition, at once, for a
  // group that was collected before. The order is that of the indices, and within a group that of the completions'
  // indices. One thread collects at a time: a second call changes what the first said it waits for.
  absl::StatusOr<std::vector<ScoredGroup>> Collect(const std::string& stage, int64_t first, int64_t count,
                                                   absl::Duration timeout);

  // Keeps `weights` for workers to pull and forgets every other version of the same policy that no group may hold from
  // now on. `weights` holds a manifest with policy and digest; a version of the same number replaces the one before.
  // Transfers that run keep their source alive. Never blocks for them. `vocabulary`, the policy's from now on, is what
  // token ids of its submissions are held against; null: nothing is.
  void Publish(std::shared_ptr<const WeightSource> weights, std::shared_ptr<const Vocabulary> vocabulary = nullptr);

  // How many of these groups are ready now. Those that are quarantined or collected do not count.
  int64_t NumReady(const std::string& stage, int64_t first, int64_t count) const;

  // What is worth a line of the log, since the last call: which workers are passed over, and why.
  std::vector<std::string> TakeNotices();

  // Empty while somebody can make progress. Otherwise why not, in words: no worker registered or every live worker is
  // blocked. "waiting for ..." causes shorter than `tolerance` are not reported.
  std::string BlockedReason(absl::Duration tolerance) const;

  // No further leases; workers are told to exit; a waiting Collect returns. Idempotent. What was handed in and not
  // collected is lost with this object.
  void End();

  // Every registered worker by name, also the lost ones until another attempt takes their slot.
  std::vector<v1::WorkerStatus> Workers() const;
  // Every reward server that registered and did not leave, by name.
  std::vector<v1::RewardServerStatus> RewardServers() const;
  // How many groups are in each state now, and what happened since this object was made (the totals).
  v1::LeaseCounters Counters() const;

  // --- The side of workers and reward servers: one method per rpc, with its errors (proto/coordinator.proto) ---

  // Admits a worker, or a new attempt of one, whose earlier attempt is dead from then on: its groups are pending again
  // at once. FailedPrecondition, with both values, for another protocol version, run, role or configuration, and when
  // no weight channel is known to both; WorkerTable::Register's errors.
  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request);
  // Waits for work, for wait_ms or kMaxLeaseWait at most; an empty answer means ask again. run_ended after End().
  // Nothing comes to a worker that is passed over (worker_table.h), whose leases are others'. InvalidArgument when no
  // group is asked for, NotFound for a worker that must register again.
  absl::StatusOr<v1::LeaseGroupsResponse> LeaseGroups(const v1::LeaseGroupsRequest& request);
  // Takes a whole group, or its error. A repeated submission is answered DUPLICATE and changes nothing. NotFound for an
  // unknown worker, FailedPrecondition for a lease that is another's or of an older attempt or epoch, CheckSubmission's
  // errors. The completions may come in any order.
  absl::StatusOr<v1::SubmitCompletionResponse> Submit(const v1::SubmitHeader& header,
                                                      std::vector<v1::ScoredCompletion> completions);
  // Renews the leases that the worker names; `lost` are those that it need not go on with. A worker that is leaving
  // gives all of them back without blame and its id is unknown afterwards. NotFound for an unknown worker.
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request);
  // The source of that version, which the caller may keep as long as it likes; after its owner retired it, its reads
  // fail. NotFound for a version that is not kept, in words that say which is.
  absl::StatusOr<std::shared_ptr<const WeightSource>> Weights(const v1::PolicyRef& policy) const;
  // Notes where a reward server serves, or that it leaves. FailedPrecondition for another protocol version or run;
  // RewardTable::Register's errors.
  absl::StatusOr<v1::RegisterRewardServerResponse> RegisterRewardServer(const v1::RegisterRewardServerRequest& request);

  // LeaseGroups waits this long at most, whatever the worker asks for.
  static constexpr absl::Duration kMaxLeaseWait = absl::Seconds(10);
  // Reward servers call at least this often, whatever the heartbeat interval: the answer tells them of the run's end,
  // after which the trainer stays a second.
  static constexpr absl::Duration kMaxRewardServerInterval = absl::Milliseconds(500);

 private:
  // Register's FailedPrecondition, but for the weight channel.
  absl::Status CheckHandshake(const v1::RegisterRequest& request) const;
  // The leases as they are now. Every use goes through here, before the worker that calls is noted as heard of: whether
  // it had died does not depend on who else called meanwhile.
  LeaseTable& Leases() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether weights that the group may hold are published.
  bool IsSamplable(const v1::Lease& group) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether this worker may be given groups of an endpoint policy: one at a time is, until it is lost or has left.
  bool MayAsk(const std::string& policy_id, const std::string& worker_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the group is one of those that were asked for, and can be sampled now.
  bool MayBeGiven(const v1::Lease& group, const v1::LeaseGroupsRequest& request) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the worker is passed over; where that begins, it loses what it holds.
  bool IsPassedOver(const std::string& worker_id, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // LeaseTable::Take, with what one answer has room for: endpoints' groups, or else those of policies with weights.
  std::vector<v1::Lease> TakeFor(const v1::LeaseGroupsRequest& request, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The digest of a version that was published at any time; empty when it never was.
  std::string DigestOf(const v1::PolicyRef& policy) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What a submission for the lease is held against besides.
  Expected ExpectedOf(const v1::Lease& lease) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // LeaseTable::Find for this submission, with the refused and duplicate counted. NotFound for an unknown worker, which
  // is not counted.
  absl::StatusOr<const v1::Lease*> FindForSubmit(const v1::SubmitHeader& header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CoordinatorOptions options_;
  const Identity identity_;
  const Clock& clock_;
  const StalenessPolicy staleness_ = {};

  mutable Mutex mutex_;
  // Mutable because leases run out between calls, const ones included.
  mutable LeaseTable leases_ ABSL_GUARDED_BY(mutex_);
  WorkerTable workers_ ABSL_GUARDED_BY(mutex_);
  RewardTable reward_servers_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool leasing_ ABSL_GUARDED_BY(mutex_) = true;
  // The best first.
  std::vector<std::string> weight_channels_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int64_t> weight_buffer_bytes_ = 0;
  LocalWorkers local_workers_;
  // policy_id -> number -> the versions that are kept.
  std::map<std::string, std::map<int64_t, std::shared_ptr<const WeightSource>>> weights_ ABSL_GUARDED_BY(mutex_);
  // policy_id -> number -> digest, of every version ever published: a group is checked against the version of its
  // lease.
  std::map<std::string, std::map<int64_t, std::string>> digests_ ABSL_GUARDED_BY(mutex_);
  // ExpectRules'.
  std::map<std::string, std::vector<std::string>> reward_rules_ ABSL_GUARDED_BY(mutex_);
  // policy_id -> what Publish was told with its newest version; null where nothing.
  std::map<std::string, std::shared_ptr<const Vocabulary>> vocabularies_ ABSL_GUARDED_BY(mutex_);
  // policy_id -> id of the worker that was given groups of it last; of endpoint policies.
  std::map<std::string, std::string> endpoint_holders_ ABSL_GUARDED_BY(mutex_);
  // TakeNotices'.
  std::vector<std::string> notices_ ABSL_GUARDED_BY(mutex_);
  int64_t num_refused_total_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_duplicate_total_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_COORDINATOR_H_
