#include "coordinator/worker_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "coordinator/names.h"

namespace grpo {
namespace {

// As much as people read of it; every status holds those of all workers.
constexpr size_t kMaxReasonBytes = 1024;

std::string WholeSeconds(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Seconds(1)));
}

}  // namespace

absl::StatusOr<WorkerTable::Admission> WorkerTable::Register(const v1::RegisterRequest& request, absl::Duration now) {
  const std::string& name = request.worker_name();
  RETURN_IF_ERROR(CheckName("worker_name", name, "give the worker a --name"));
  if (request.worker_attempt() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker_attempt of ", name, " is ", request.worker_attempt(), ", attempts count from 1"));
  }
  Admission admission;
  admission.worker_id = absl::StrCat(name, ".", request.worker_attempt(), "@", epoch_);
  if (const auto known = id_of_name_.find(name); known != id_of_name_.end()) {
    Worker& current = workers_.at(known->second);
    if (request.worker_attempt() == current.attempt) {
      Hear(current, now);
      return admission;
    }
    if (request.worker_attempt() < current.attempt) {
      return absl::FailedPreconditionError(absl::StrCat("attempt ", request.worker_attempt(), " of ", name,
                                                        " was replaced by attempt ", current.attempt,
                                                        ": exit, or register under another worker_name"));
    }
    admission.replaced_id = known->second;
    admission.replaced_died_working = current.blocked_reason.empty();
    workers_.erase(known->second);
  } else if (id_of_name_.size() >= kMaxWorkers) {
    return absl::ResourceExhaustedError(absl::StrCat(
        kMaxWorkers,
        " worker names are registered, no more are taken: start workers under the names of those that died"));
  }
  id_of_name_[name] = admission.worker_id;
  Worker& worker = workers_[admission.worker_id];
  worker.name = name;
  worker.attempt = request.worker_attempt();
  worker.last_seen = now;
  return admission;
}

absl::Status WorkerTable::Touch(const std::string& worker_id, absl::Duration now) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) {
    return absl::NotFoundError(
        absl::StrCat("worker_id \"", worker_id, "\" is unknown to epoch ", epoch_, ": register again"));
  }
  Hear(worker->second, now);
  return absl::OkStatus();
}

void WorkerTable::Hear(Worker& worker, absl::Duration now) const {
  // For its silence its leases ran out.
  if (IsLost(worker, now)) worker.working_since += now - worker.last_seen;
  worker.last_seen = now;
}

absl::Status WorkerTable::Heartbeat(const v1::HeartbeatRequest& request, absl::Duration now) {
  RETURN_IF_ERROR(Touch(request.worker_id(), now));
  if (request.num_tokens_generated() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_tokens_generated is ", request.num_tokens_generated(), ", it must not be negative"));
  }
  if (request.held_policy().policy_id().size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("held_policy.policy_id has ",
                                                   request.held_policy().policy_id().size(),
                                                   " bytes, allowed are 1 to ", kMaxNameBytes));
  }
  Worker& worker = workers_.at(request.worker_id());
  worker.holds_policy = request.has_held_policy();
  worker.held_policy = request.held_policy();
  worker.blocked_reason = AsUtf8(request.blocked_reason(), kMaxReasonBytes);
  worker.blocks_run = request.blocks_run();
  worker.blocked_since = now - absl::Milliseconds(std::max<int64_t>(request.blocked_for_ms(), 0));
  worker.num_tokens_generated = request.num_tokens_generated();
  return absl::OkStatus();
}

void WorkerTable::NoteTaken(const std::string& worker_id, absl::Duration now) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  // From the first on: to let groups go and take them again is no progress.
  worker->second.working_since = std::min(worker->second.working_since, now);
}

void WorkerTable::NoteHandedIn(const std::string& worker_id, bool holds_more, absl::Duration now) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  worker->second.working_since = holds_more ? now : absl::InfiniteDuration();
  worker->second.passed_over_until = now;
}

std::string WorkerTable::PassOverIfDue(const std::string& worker_id, absl::Duration now) {
  const auto found = workers_.find(worker_id);
  if (found == workers_.end()) return "";
  Worker& worker = found->second;
  const bool due = now - worker.working_since > hand_in_within_;
  if (!due || !AnotherCanGoOn(worker, now)) return "";
  worker.working_since = absl::InfiniteDuration();
  worker.passed_over_until = now + hand_in_within_;
  return absl::StrCat(worker.name, " ", PassedOverText());
}

bool WorkerTable::IsPassedOver(const std::string& worker_id, absl::Duration now) const {
  const auto worker = workers_.find(worker_id);
  return worker != workers_.end() && now < worker->second.passed_over_until && AnotherCanGoOn(worker->second, now);
}

bool WorkerTable::AnotherCanGoOn(const Worker& worker, absl::Duration now) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
    const Worker& other = entry.second;
    return &other != &worker && !IsLost(other, now) && other.blocked_reason.empty() && now >= other.passed_over_until;
  });
}

std::string WorkerTable::PassedOverText() const {
  return absl::StrCat(
      "held groups and handed none in for ", absl::FormatDuration(hand_in_within_),
      " (coordinator.hand_in_within_s): others get them, and it gets no more for as long again; read its "
      "log, or start it anew");
}

void WorkerTable::Remove(const std::string& worker_id) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  id_of_name_.erase(worker->second.name);
  workers_.erase(worker);
}

bool WorkerTable::IsDeadWorking(const std::string& worker_id, absl::Duration now) const {
  const auto worker = workers_.find(worker_id);
  return worker != workers_.end() && IsLost(worker->second, now) && worker->second.blocked_reason.empty();
}

bool WorkerTable::IsLive(const std::string& worker_id, absl::Duration now) const {
  const auto worker = workers_.find(worker_id);
  return worker != workers_.end() && !IsLost(worker->second, now);
}

std::string WorkerTable::NameOf(const std::string& worker_id) const {
  const auto worker = workers_.find(worker_id);
  return worker == workers_.end() ? "" : worker->second.name;
}

std::string WorkerTable::BlockedText(const Worker& worker, absl::Duration now) {
  return absl::StrCat(worker.name, " is blocked for ", WholeSeconds(now - worker.blocked_since), ": ",
                      worker.blocked_reason);
}

std::string WorkerTable::ReasonOfOne(absl::Duration tolerance, absl::Duration now) const {
  for (const auto& [id, worker] : workers_) {
    const bool blocks_run = worker.blocks_run && !worker.blocked_reason.empty() && !IsLost(worker, now);
    if (blocks_run && now - worker.blocked_since >= tolerance) return BlockedText(worker, now);
  }
  return "";
}

std::string WorkerTable::BlockedReason(absl::Duration tolerance, absl::Duration now) const {
  if (std::string of_one = ReasonOfOne(tolerance, now); !of_one.empty()) return of_one;
  const Worker* longest = nullptr;
  const Worker* last_heard = nullptr;
  // Since when nobody makes progress: the moment at which the last one stopped.
  absl::Duration since = started_;
  for (const auto& [id, worker] : workers_) {
    if (last_heard == nullptr || worker.last_seen > last_heard->last_seen) last_heard = &worker;
    if (IsLost(worker, now)) {
      since = std::max(since, worker.last_seen + lost_after_);
      continue;
    }
    if (worker.blocked_reason.empty()) return "";
    since = std::max(since, worker.blocked_since);
    if (longest == nullptr || worker.blocked_since < longest->blocked_since) longest = &worker;
  }
  if (now - since < tolerance) return "";
  if (workers_.empty()) {
    return absl::StrCat("no rollout worker has registered for ", WholeSeconds(now - since),
                        ": start one, or read its log");
  }
  if (longest == nullptr) {
    return absl::StrCat("every rollout worker is lost; ", last_heard->name, " was heard of last, ",
                        WholeSeconds(now - last_heard->last_seen), " ago: start one, or read its log");
  }
  return BlockedText(*longest, now);
}

std::vector<v1::WorkerStatus> WorkerTable::Statuses(absl::Duration now) const {
  std::vector<v1::WorkerStatus> statuses;
  for (const auto& [name, id] : id_of_name_) {
    const Worker& worker = workers_.at(id);
    v1::WorkerStatus& status = statuses.emplace_back();
    status.set_worker_id(id);
    status.set_name(name);
    status.set_state(IsLost(worker, now)             ? v1::WORKER_STATE_LOST
                     : worker.blocked_reason.empty() ? v1::WORKER_STATE_ACTIVE
                                                     : v1::WORKER_STATE_BLOCKED);
    status.set_last_seen_ms(absl::ToInt64Milliseconds(now - worker.last_seen));
    if (worker.holds_policy) *status.mutable_held_policy() = worker.held_policy;
    if (!worker.blocked_reason.empty()) {
      status.set_blocked_reason(worker.blocked_reason);
      status.set_blocked_for_ms(absl::ToInt64Milliseconds(now - worker.blocked_since));
    }
    if (worker.blocked_reason.empty() && now < worker.passed_over_until && AnotherCanGoOn(worker, now)) {
      if (!IsLost(worker, now)) status.set_state(v1::WORKER_STATE_BLOCKED);
      status.set_blocked_reason(PassedOverText());
      status.set_blocked_for_ms(absl::ToInt64Milliseconds(now - (worker.passed_over_until - hand_in_within_)));
    }
    status.set_num_tokens_generated(worker.num_tokens_generated);
  }
  return statuses;
}

}  // namespace grpo
