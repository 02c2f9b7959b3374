// What the coordinator says of itself.
#include <utility>

#include "coordinator/coordinator.h"

namespace grpo {

int64_t Coordinator::NumReady(const std::string& stage, int64_t first, int64_t count) const {
  MutexLock lock(&mutex_);
  int64_t num_ready = 0;
  for (int64_t i = first; i < first + count; ++i) num_ready += leases_.IsReady(stage, i);
  return num_ready;
}

std::string Coordinator::BlockedReason(absl::Duration tolerance) const {
  MutexLock lock(&mutex_);
  return workers_.BlockedReason(tolerance, clock_.Now());
}

std::vector<std::string> Coordinator::TakeNotices() {
  MutexLock lock(&mutex_);
  return std::exchange(notices_, {});
}

std::vector<v1::WorkerStatus> Coordinator::Workers() const {
  MutexLock lock(&mutex_);
  std::vector<v1::WorkerStatus> statuses = workers_.Statuses(clock_.Now());
  for (v1::WorkerStatus& status : statuses) status.set_num_leases(Leases().NumLeasedTo(status.worker_id()));
  return statuses;
}

std::vector<v1::RewardServerStatus> Coordinator::RewardServers() const {
  MutexLock lock(&mutex_);
  return reward_servers_.Statuses(clock_.Now());
}

v1::LeaseCounters Coordinator::Counters() const {
  MutexLock lock(&mutex_);
  const LeaseTable& leases = Leases();
  v1::LeaseCounters counters;
  counters.set_num_pending(leases.num_pending());
  counters.set_num_leased(leases.num_leased());
  counters.set_num_ready(leases.num_ready());
  counters.set_num_expired_total(leases.num_expired_total());
  counters.set_num_refused_total(num_refused_total_);
  counters.set_num_duplicate_total(num_duplicate_total_);
  counters.set_num_quarantined_total(leases.num_quarantined_total());
  counters.set_ready_bytes(leases.ready_bytes());
  return counters;
}

}  // namespace grpo
