// The life of every group: pending, leased, ready or quarantined, collected (coordinator.h states the invariants). Pure
// data: no lock, no clock, no I/O; `now` is an argument that never goes back. Thread-compatible. A group that was
// collected leaves the table; what late results need to be answered stays (collected_groups.h).
//
// A lease that runs out makes its group pending, so that anybody may take it; until somebody does, the old holder keeps
// its claim: a heartbeat renews the lease, and a result is still taken. Thus a slow network costs no work. From the
// next Take on the attempt has grown and everything of the older one is refused.
//
// A group whose holder died is a suspect: any of the groups which that worker held may have killed it. A suspect is
// leased alone, to a worker that holds nothing else and gets nothing else meanwhile; so the next death tells it apart
// from its neighbours, and a group that dies alone is quarantined. A worker that holds something passes a suspect by.
// No suspect waits for ever: what is buffered is bounded and collected in order, so the rest runs out and workers
// become free.
//
// Results are bounded where they begin: above max_ready_bytes only groups that the trainer waits for are leased. What
// is leased may always be handed in. Refusing results instead would let workers that are full of refused ones stand in
// the way of the one group that everybody waits for.
#ifndef GRPO_COORDINATOR_LEASE_TABLE_H_
#define GRPO_COORDINATOR_LEASE_TABLE_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/collected_groups.h"
#include "coordinator/scored_group.h"
#include "proto/types.pb.h"

namespace grpo {

class LeaseTable {
 public:
  // Of the leases of one Take: they travel in one message, which gRPC caps at 4 MiB.
  static constexpr int64_t kMaxTakeBytes = int64_t{2} << 20;

  // Workers that a group may kill, the last one alone, before it is quarantined.
  static constexpr int kMaxDeaths = 2;

  struct Limits {
    // How long a lease lives unless renewed.
    absl::Duration ttl;
    // Of the groups that are pending, leased or ready.
    int64_t max_groups = 0;
    // Of the ready ones; above it only what is wanted is leased.
    int64_t max_ready_bytes = 0;
  };
  LeaseTable(int64_t epoch, const Limits& limits) : epoch_(epoch), limits_(limits) {}

  // Coordinator::Offer; all groups or none. Errors as there, but for the lease's kind, which is not looked at.
  absl::Status Offer(const std::vector<v1::Lease>& groups);

  // Coordinator::Quarantine: before the group is offered. A second call for the same group changes nothing.
  void Quarantine(const std::string& stage, int64_t group_index);

  // Says which groups the trainer waits for, from now on until it says something else. first .. first+count-1; what is
  // not offered yet counts as soon as it is.
  void Want(const std::string& stage, int64_t first, int64_t count);

  // Makes the groups whose leases ran out pending; the worker is blamed on the group when `is_dead` says so of it. Call
  // it first whenever time may have passed.
  void Expire(absl::Duration now, absl::FunctionRef<bool(const std::string& worker_id)> is_dead);

  // When the next lease runs out; InfiniteDuration when nothing is leased. On the clock of `now`.
  absl::Duration NextExpiry() const;

  // Whether a group can be sampled now; those that cannot are passed by.
  using Samplable = absl::FunctionRef<bool(const v1::Lease& group)>;

  // Whether Take would find something for this worker. As of the last Expire.
  bool CanTake(const std::string& worker_id, Samplable samplable) const {
    return FindNext(worker_id, samplable) != nullptr;
  }

  // Leases pending groups in the order in which they were offered (suspects alone), at most max_groups of at most
  // max_completions completions and kMaxTakeBytes in all; the first is leased even if it alone is larger. Empty when
  // there is nothing for this worker; also for max_groups below 1. Each lease carries its new attempt, the epoch and
  // the ttl.
  std::vector<v1::Lease> Take(const std::string& worker_id, int64_t max_groups, int64_t max_completions,
                              absl::Duration now, Samplable samplable);

  // Gives the lease its full time to live again. False when it is not (or no longer) this worker's. A worker that
  // seemed dead and names the lease was not: the group is no suspect on its account. False, too, when the result was
  // taken, or when it would stand beside a suspect that the worker holds now, or be one beside others.
  bool Renew(const std::string& worker_id, const v1::LeaseKey& key, absl::Duration now);

  // Makes everything that this worker holds pending, because it `died` or for another reason. Groups that ran out
  // before stay as they are.
  void Release(const std::string& worker_id, bool died);

  // The lease that `key` names, if this worker may hand in its result; null when that result was taken before (a
  // duplicate). FailedPrecondition with both values otherwise. The pointer is good until the next change. A lease that
  // ran out and that nobody took since is still its holder's.
  absl::StatusOr<const v1::Lease*> Find(const std::string& worker_id, const v1::LeaseKey& key) const;

  // Stores the result of a lease that Find just returned, which takes num_bytes of memory; result.lease is filled here.
  // `key` is that lease's.
  void Accept(const v1::LeaseKey& key, ScoredGroup result, int64_t num_bytes);
  // The same for a group that no worker could ever produce: it is ready, and FindError has `error` for good.
  void Fail(const v1::LeaseKey& key, const std::string& error);

  // False for a group that is unknown or collected.
  bool IsReady(const std::string& stage, int64_t group_index) const;
  // Ready or quarantined: nobody needs to wait for it any more. False once it is collected.
  bool IsDone(const std::string& stage, int64_t group_index) const;
  // InvalidArgument with the group and its error when one of these groups failed. Of several, the first by index.
  absl::Status FindError(const std::string& stage, int64_t first, int64_t count) const;

  // Removes these groups, which must all be done, and returns the ready ones in order. Find, Offer and CheckCollectable
  // go on as if they were there. FindError's error, FailedPrecondition when one is not done. Nothing is removed after
  // an error.
  absl::StatusOr<std::vector<ScoredGroup>> Collect(const std::string& stage, int64_t first, int64_t count);
  // FailedPrecondition when one of these groups was collected before: waiting for it would never end.
  absl::Status CheckCollectable(const std::string& stage, int64_t first, int64_t count) const;

  // The groups that were quarantined since the last call.
  std::vector<QuarantinedGroup> TakeQuarantined() { return std::exchange(quarantined_, {}); }

  // How many groups are in that state now.
  int64_t num_pending() const { return static_cast<int64_t>(pending_.size() + suspects_.size()); }
  int64_t num_leased() const { return static_cast<int64_t>(leased_.size()); }
  int64_t num_ready() const { return num_ready_; }
  // The sum of num_bytes of Accept over the ready groups.
  int64_t ready_bytes() const { return ready_bytes_; }
  // Leases that ran out; groups that were quarantined, with those that Quarantine named. Since construction.
  int64_t num_expired_total() const { return num_expired_total_; }
  int64_t num_quarantined_total() const { return num_quarantined_total_; }
  // Leases that this worker holds and that have not run out.
  int32_t NumLeasedTo(const std::string& worker_id) const { return HeldBy(worker_id).num_leases; }
  // Groups and runs of collected groups in memory. What memory grows with.
  int64_t num_records() const;

 private:
  enum class State { kPending, kLeased, kReady, kQuarantined, kCollected };

  struct Group {
    State state = State::kPending;
    // Of the newest lease; 0 before the first.
    int32_t attempt = 0;
    // Worker that took the newest lease.
    std::string holder;
    // Position among all offers: who is first in line, also after an expiry.
    int64_t order = 0;
    // While leased.
    absl::Duration expires;
    // While ready.
    int64_t num_bytes = 0;
    // Workers that died with it.
    std::vector<std::string> dead_workers;
    // The lease from the start, the result when ready; null once quarantined or collected.
    std::unique_ptr<ScoredGroup> content;

    bool is_suspect() const { return !dead_workers.empty(); }
  };

  // What a worker holds.
  struct Holding {
    int32_t num_leases = 0;
    // Then it is the only one.
    bool has_suspect = false;
  };
  // Zero for a worker that holds nothing.
  Holding HeldBy(const std::string& worker_id) const;

  // Null for a group that was never offered, and for one that was collected when ready.
  const Group* FindGroup(const std::string& stage, int64_t group_index) const;
  Group* FindGroup(const std::string& stage, int64_t group_index) {
    return const_cast<Group*>(std::as_const(*this).FindGroup(stage, group_index));
  }
  // Whether a worker that holds this may hold the group beside it.
  static bool MayHold(const Holding& held, const Group& group) {
    return group.is_suspect() ? held.num_leases == 0 : !held.has_suspect;
  }
  // Whether Want named it. The group has content.
  bool IsWanted(const Group& group) const;
  // The first group in line that this worker may take; null when there is none.
  Group* FindNext(const std::string& worker_id, Samplable samplable) const;
  // The first of this line, pending_ or suspects_, that is samplable and, when the buffer is full, wanted.
  Group* FindFirst(const std::map<int64_t, Group*>& line, Samplable samplable) const;
  // Find for an attempt that is, or was, leased to `holder`; whether its result was taken is not asked.
  static absl::Status CheckAttempt(const v1::LeaseKey& key, const std::string& worker_id, int32_t attempt,
                                   const std::string& holder);
  // Ends the group's lease, because its holder died or for another reason. The group is pending afterwards, or
  // quarantined when that was its kMaxDeaths-th death.
  void EndLease(Group& group, bool holder_died);
  // Puts it in line where it stood; the group is in none of the three.
  void MakePending(Group& group);
  // Gives it ttl from `now` on, whatever it was, to `holder`.
  void MakeLeased(Group& group, absl::Duration now);
  // Takes the group out of pending_, suspects_ or leased_.
  void Detach(Group& group);

  const int64_t epoch_;
  const Limits limits_;
  // stage -> group_index -> group. Of the collected ones only those stay that were quarantined.
  std::map<std::string, std::map<int64_t, Group>> groups_;
  // The other collected ones.
  CollectedGroups collected_;
  // Pending groups by Group::order: those that nobody died with, and suspects.
  std::map<int64_t, Group*> pending_, suspects_;
  // By expiry, then order.
  std::map<std::pair<absl::Duration, int64_t>, Group*> leased_;
  // By worker id; of those that hold something.
  std::map<std::string, Holding> holdings_;
  // Want's groups.
  std::string wanted_stage_;
  int64_t wanted_first_ = 0, wanted_end_ = 0;
  // Quarantine's groups.
  std::set<std::pair<std::string, int64_t>> known_quarantined_;
  // TakeQuarantined's groups.
  std::vector<QuarantinedGroup> quarantined_;
  // stage -> group_index -> error, of those that failed.
  std::map<std::string, std::map<int64_t, std::string>> errors_;
  int64_t num_offered_total_ = 0;
  int64_t num_ready_ = 0, ready_bytes_ = 0;
  int64_t num_expired_total_ = 0, num_quarantined_total_ = 0;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_LEASE_TABLE_H_
