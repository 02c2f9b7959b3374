// The life of every group: pending, leased, ready, collected (coordinator.h states the invariants). Pure data: no lock,
// no clock, no I/O; `now` is an argument that never goes back. Thread-compatible.
//
// A lease that runs out makes its group pending, so that anybody may take it; until somebody does, the old holder keeps
// its claim: a heartbeat renews the lease, and a result is still taken. Thus a slow network costs no work. From the
// next Take on the attempt has grown and everything of the older one is refused.
#ifndef GRPO_COORDINATOR_LEASE_TABLE_H_
#define GRPO_COORDINATOR_LEASE_TABLE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/scored_group.h"
#include "proto/types.pb.h"

namespace grpo {

class LeaseTable {
 public:
  // Of the leases of one Take: they travel in one message, which gRPC caps at 4 MiB.
  static constexpr int64_t kMaxTakeBytes = int64_t{2} << 20;

  // `ttl`: how long a lease lives unless renewed.
  LeaseTable(int64_t epoch, absl::Duration ttl) : epoch_(epoch), ttl_(ttl) {}

  // Coordinator::Offer; all groups or none.
  absl::Status Offer(const std::vector<v1::Lease>& groups);

  // Makes the groups whose leases ran out pending. Call it first whenever time may have passed.
  void Expire(absl::Duration now);

  // When the next lease runs out; InfiniteDuration when nothing is leased.
  absl::Duration NextExpiry() const;

  // Leases pending groups in the order in which they were offered, at most max_groups of at most max_completions
  // completions and kMaxTakeBytes in all; the first is leased even if it alone is larger.
  std::vector<v1::Lease> Take(const std::string& worker_id, int64_t max_groups, int64_t max_completions,
                              absl::Duration now);

  // Gives the lease its full time to live again. False when it is not (or no longer) this worker's.
  bool Renew(const std::string& worker_id, const v1::LeaseKey& key, absl::Duration now);

  // Makes everything that this worker holds pending.
  void Release(const std::string& worker_id);

  // The lease that `key` names, if this worker may hand in its result; null when that result was taken before (a
  // duplicate). FailedPrecondition with both values otherwise. The pointer is good until the next change.
  absl::StatusOr<const v1::Lease*> Find(const std::string& worker_id, const v1::LeaseKey& key) const;

  // Stores the result of a lease that Find just returned; result.lease is filled here.
  void Accept(const v1::LeaseKey& key, ScoredGroup result);
  // The same for a group that no worker could ever produce: it is ready, and FindError has `error` for good.
  void Fail(const v1::LeaseKey& key, const std::string& error);

  bool IsReady(const std::string& stage, int64_t group_index) const;
  // InvalidArgument with the group and its error when one of these groups failed.
  absl::Status FindError(const std::string& stage, int64_t first, int64_t count) const;

  // Removes these groups, which must all be ready, and returns them in order. What stays of each is the attempt that
  // was accepted. FindError's error, FailedPrecondition when one is not ready.
  absl::StatusOr<std::vector<ScoredGroup>> Collect(const std::string& stage, int64_t first, int64_t count);
  // FailedPrecondition when one of these groups was collected before: waiting for it would never end.
  absl::Status CheckCollectable(const std::string& stage, int64_t first, int64_t count) const;

  int64_t num_pending() const { return static_cast<int64_t>(pending_.size()); }
  int64_t num_leased() const { return static_cast<int64_t>(leased_.size()); }
  int64_t num_ready() const { return num_ready_; }
  int64_t num_expired_total() const { return num_expired_total_; }
  int32_t NumLeasedTo(const std::string& worker_id) const;

 private:
  enum class State { kPending, kLeased, kReady, kCollected };

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
    // The lease from the start, the result when ready; null once collected.
    std::unique_ptr<ScoredGroup> content;
  };

  const Group* FindGroup(const std::string& stage, int64_t group_index) const;
  Group* FindGroup(const std::string& stage, int64_t group_index) {
    return const_cast<Group*>(std::as_const(*this).FindGroup(stage, group_index));
  }
  void MakePending(Group& group);
  void MakeLeased(Group& group, absl::Duration now);
  // Takes the group out of pending_ or leased_.
  void Detach(Group& group);

  const int64_t epoch_;
  const absl::Duration ttl_;
  // stage -> group_index -> group. Collected groups stay (some 100 bytes each), so that late duplicates are known as
  // such.
  std::map<std::string, std::map<int64_t, Group>> groups_;
  // By Group::order.
  std::map<int64_t, Group*> pending_;
  // By expiry, then order.
  std::map<std::pair<absl::Duration, int64_t>, Group*> leased_;
  // stage -> group_index -> error, of those that failed.
  std::map<std::string, std::map<int64_t, std::string>> errors_;
  int64_t num_offered_total_ = 0;
  int64_t num_ready_ = 0;
  int64_t num_expired_total_ = 0;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_LEASE_TABLE_H_
