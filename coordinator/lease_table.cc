#include "coordinator/lease_table.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

std::string Describe(const std::string& stage, int64_t group_index) {
  return absl::StrCat("group ", group_index, " of stage \"", stage, "\"");
}

absl::Status CheckOffer(const v1::Lease& group) {
  const std::string name = Describe(group.key().stage(), group.key().group_index());
  if (group.key().group_index() < 0) return absl::InvalidArgumentError(absl::StrCat(name, ": the index is negative"));
  if (group.sampling().num_completions() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": num_completions is ", group.sampling().num_completions(), ", a group has at least 1"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LeaseTable::Offer(const std::vector<v1::Lease>& groups) {
  const int64_t num_buffered = num_pending() + num_leased() + num_ready();
  if (num_buffered + static_cast<int64_t>(groups.size()) > limits_.max_groups) {
    return absl::ResourceExhaustedError(absl::StrCat(
        groups.size(), " groups were offered and ", num_buffered, " are buffered, at most ", limits_.max_groups,
        " may be: collect some first, offer fewer at once, or raise coordinator.max_buffered_groups"));
  }
  std::set<std::pair<std::string, int64_t>> seen;
  for (const v1::Lease& group : groups) {
    RETURN_IF_ERROR(CheckOffer(group));
    const std::string& stage = group.key().stage();
    const int64_t index = group.key().group_index();
    if (FindGroup(stage, index) != nullptr || collected_.Find(stage, index) != nullptr ||
        !seen.emplace(stage, index).second) {
      return absl::AlreadyExistsError(
          absl::StrCat(Describe(stage, index), " was offered before; a group is offered once"));
    }
  }
  for (const v1::Lease& offered : groups) {
    Group& group = groups_[offered.key().stage()][offered.key().group_index()];
    group.order = num_offered_total_++;
    if (known_quarantined_.erase({offered.key().stage(), offered.key().group_index()}) > 0) {
      group.state = State::kQuarantined;
      continue;
    }
    group.content = std::make_unique<ScoredGroup>();
    v1::Lease& lease = group.content->lease;
    lease = offered;
    lease.mutable_key()->set_attempt(0);
    lease.mutable_key()->set_epoch(epoch_);
    lease.set_ttl_ms(absl::ToInt64Milliseconds(limits_.ttl));
    pending_.emplace(group.order, &group);
  }
  return absl::OkStatus();
}

void LeaseTable::Quarantine(const std::string& stage, int64_t group_index) {
  num_quarantined_total_ += known_quarantined_.emplace(stage, group_index).second;
}

void LeaseTable::Want(const std::string& stage, int64_t first, int64_t count) {
  wanted_stage_ = stage;
  wanted_first_ = first;
  wanted_end_ = first + count;
}

void LeaseTable::Expire(absl::Duration now, absl::FunctionRef<bool(const std::string& worker_id)> is_dead) {
  while (!leased_.empty() && leased_.begin()->first.first <= now) {
    Group& group = *leased_.begin()->second;
    EndLease(group, is_dead(group.holder));
    ++num_expired_total_;
  }
}

absl::Duration LeaseTable::NextExpiry() const {
  return leased_.empty() ? absl::InfiniteDuration() : leased_.begin()->first.first;
}

std::vector<v1::Lease> LeaseTable::Take(const std::string& worker_id, int64_t max_groups, int64_t max_completions,
                                        absl::Duration now, Samplable samplable) {
  std::vector<v1::Lease> taken;
  int64_t num_completions = 0, num_bytes = 0;
  while (static_cast<int64_t>(taken.size()) < max_groups) {
    Group* const next = FindNext(worker_id, samplable);
    if (next == nullptr) break;
    Group& group = *next;
    num_completions += group.content->lease.sampling().num_completions();
    num_bytes += static_cast<int64_t>(group.content->lease.ByteSizeLong());
    if (!taken.empty() && (num_completions > max_completions || num_bytes > kMaxTakeBytes)) break;
    ++group.attempt;
    group.holder = worker_id;
    group.content->lease.mutable_key()->set_attempt(group.attempt);
    MakeLeased(group, now);
    taken.push_back(group.content->lease);
  }
  return taken;
}

bool LeaseTable::Renew(const std::string& worker_id, const v1::LeaseKey& key, absl::Duration now) {
  const absl::StatusOr<const v1::Lease*> held = Find(worker_id, key);
  if (!held.ok() || *held == nullptr) return false;
  Group& group = *FindGroup(key.stage(), key.group_index());
  if (group.state == State::kPending) {
    if (group.is_suspect() && group.dead_workers.back() == worker_id) {
      Detach(group);
      group.dead_workers.pop_back();
      MakePending(group);
    }
    if (!MayHold(HeldBy(worker_id), group)) return false;
  }
  MakeLeased(group, now);
  return true;
}

void LeaseTable::Release(const std::string& worker_id, bool died) {
  for (auto it = leased_.begin(); it != leased_.end();) {
    Group& group = *(it++)->second;
    if (group.holder == worker_id) EndLease(group, died);
  }
}

absl::StatusOr<const v1::Lease*> LeaseTable::Find(const std::string& worker_id, const v1::LeaseKey& key) const {
  const std::string name = Describe(key.stage(), key.group_index());
  if (key.epoch() != epoch_) {
    return absl::FailedPreconditionError(absl::StrCat("the lease of ", name, " is of epoch ", key.epoch(),
                                                      ", this coordinator's is ", epoch_, ": drop it and lease again"));
  }
  if (const CollectedGroups::Attempt* collected = collected_.Find(key.stage(), key.group_index())) {
    const std::string& holder = collected->holder.empty() ? worker_id : collected->holder;
    RETURN_IF_ERROR(CheckAttempt(key, worker_id, collected->attempt, holder));
    return nullptr;
  }
  const Group* group = FindGroup(key.stage(), key.group_index());
  if (group == nullptr || group->attempt == 0) {
    return absl::FailedPreconditionError(absl::StrCat(name, " was never leased: drop it"));
  }
  RETURN_IF_ERROR(CheckAttempt(key, worker_id, group->attempt, group->holder));
  if (static_cast<int>(group->dead_workers.size()) >= kMaxDeaths) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is quarantined, ", absl::StrJoin(group->dead_workers, " and "), " died with it: drop it"));
  }
  if (group->state == State::kReady) return nullptr;
  return &group->content->lease;
}

absl::Status LeaseTable::CheckAttempt(const v1::LeaseKey& key, const std::string& worker_id, int32_t attempt,
                                      const std::string& holder) {
  const std::string name = Describe(key.stage(), key.group_index());
  if (key.attempt() != attempt) {
    return absl::FailedPreconditionError(absl::StrCat("attempt ", key.attempt(), " at ", name, " ran out and attempt ",
                                                      attempt, " was leased since: drop it"));
  }
  if (holder != worker_id) {
    return absl::FailedPreconditionError(absl::StrCat("attempt ", key.attempt(), " at ", name, " was leased to ",
                                                      holder, ", not to ", worker_id, ": drop it"));
  }
  return absl::OkStatus();
}

void LeaseTable::Accept(const v1::LeaseKey& key, ScoredGroup result, int64_t num_bytes) {
  Group& group = *FindGroup(key.stage(), key.group_index());
  Detach(group);
  result.lease = std::move(group.content->lease);
  *group.content = std::move(result);
  group.state = State::kReady;
  group.num_bytes = num_bytes;
  ++num_ready_;
  ready_bytes_ += num_bytes;
}

void LeaseTable::Fail(const v1::LeaseKey& key, const std::string& error) {
  Accept(key, ScoredGroup(), /*num_bytes=*/0);
  errors_[key.stage()].emplace(key.group_index(), error);
}

absl::Status LeaseTable::FindError(const std::string& stage, int64_t first, int64_t count) const {
  const auto errors = errors_.find(stage);
  if (errors == errors_.end()) return absl::OkStatus();
  const auto error = errors->second.lower_bound(first);
  if (error == errors->second.end() || error->first >= first + count) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Describe(stage, error->first), " cannot be produced: ", error->second));
}

bool LeaseTable::IsReady(const std::string& stage, int64_t group_index) const {
  const Group* group = FindGroup(stage, group_index);
  return group != nullptr && group->state == State::kReady;
}

bool LeaseTable::IsDone(const std::string& stage, int64_t group_index) const {
  const Group* group = FindGroup(stage, group_index);
  return group != nullptr && (group->state == State::kReady || group->state == State::kQuarantined);
}

absl::StatusOr<std::vector<ScoredGroup>> LeaseTable::Collect(const std::string& stage, int64_t first, int64_t count) {
  RETURN_IF_ERROR(FindError(stage, first, count));
  for (int64_t i = first; i < first + count; ++i) {
    if (!IsDone(stage, i)) return absl::FailedPreconditionError(absl::StrCat(Describe(stage, i), " is not ready"));
  }
  std::vector<ScoredGroup> collected;
  collected.reserve(static_cast<size_t>(count));
  std::map<int64_t, Group>& groups = groups_[stage];
  for (int64_t i = first; i < first + count; ++i) {
    const auto found = groups.find(i);
    Group& group = found->second;
    if (group.state != State::kReady) {
      group.state = State::kCollected;
      continue;
    }
    collected.push_back(std::move(*group.content));
    --num_ready_;
    ready_bytes_ -= group.num_bytes;
    collected_.Add(stage, i, {.attempt = group.attempt, .holder = std::move(group.holder)});
    groups.erase(found);
  }
  return collected;
}

absl::Status LeaseTable::CheckCollectable(const std::string& stage, int64_t first, int64_t count) const {
  for (int64_t i = first; i < first + count; ++i) {
    const Group* group = FindGroup(stage, i);
    if (collected_.Find(stage, i) != nullptr || (group != nullptr && group->state == State::kCollected)) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe(stage, i), " was collected before; a group is collected once"));
    }
  }
  return absl::OkStatus();
}

int64_t LeaseTable::num_records() const {
  int64_t count = collected_.num_runs();
  for (const auto& [stage, groups] : groups_) count += static_cast<int64_t>(groups.size());
  return count;
}

LeaseTable::Holding LeaseTable::HeldBy(const std::string& worker_id) const {
  const auto held = holdings_.find(worker_id);
  return held == holdings_.end() ? Holding{} : held->second;
}

const LeaseTable::Group* LeaseTable::FindGroup(const std::string& stage, int64_t group_index) const {
  const auto groups = groups_.find(stage);
  if (groups == groups_.end()) return nullptr;
  const auto group = groups->second.find(group_index);
  return group == groups->second.end() ? nullptr : &group->second;
}

bool LeaseTable::IsWanted(const Group& group) const {
  const v1::LeaseKey& key = group.content->lease.key();
  return key.group_index() >= wanted_first_ && key.group_index() < wanted_end_ && key.stage() == wanted_stage_;
}

LeaseTable::Group* LeaseTable::FindFirst(const std::map<int64_t, Group*>& line, Samplable samplable) const {
  const bool full = ready_bytes_ >= limits_.max_ready_bytes;
  for (const auto& [order, group] : line) {
    if ((!full || IsWanted(*group)) && samplable(group->content->lease)) return group;
  }
  return nullptr;
}

LeaseTable::Group* LeaseTable::FindNext(const std::string& worker_id, Samplable samplable) const {
  const Holding held = HeldBy(worker_id);
  if (held.has_suspect) return nullptr;
  Group* const next = FindFirst(pending_, samplable);
  if (held.num_leases > 0) return next;
  Group* const suspect = FindFirst(suspects_, samplable);
  return suspect != nullptr && (next == nullptr || suspect->order < next->order) ? suspect : next;
}

void LeaseTable::EndLease(Group& group, bool holder_died) {
  Detach(group);
  if (holder_died) group.dead_workers.push_back(group.holder);
  if (static_cast<int>(group.dead_workers.size()) < kMaxDeaths) {
    MakePending(group);
    return;
  }
  group.state = State::kQuarantined;
  ++num_quarantined_total_;
  quarantined_.push_back({.lease = std::move(group.content->lease), .dead_workers = group.dead_workers});
  group.content.reset();
}

void LeaseTable::MakePending(Group& group) {
  group.state = State::kPending;
  (group.is_suspect() ? suspects_ : pending_).emplace(group.order, &group);
}

void LeaseTable::MakeLeased(Group& group, absl::Duration now) {
  Detach(group);
  group.state = State::kLeased;
  group.expires = now + limits_.ttl;
  leased_.emplace(std::pair(group.expires, group.order), &group);
  Holding& held = holdings_[group.holder];
  ++held.num_leases;
  held.has_suspect = group.is_suspect();
}

void LeaseTable::Detach(Group& group) {
  if (group.state == State::kPending) (group.is_suspect() ? suspects_ : pending_).erase(group.order);
  if (group.state != State::kLeased) return;
  leased_.erase({group.expires, group.order});
  const auto held = holdings_.find(group.holder);
  held->second.has_suspect = false;
  if (--held->second.num_leases == 0) holdings_.erase(held);
}

}  // namespace grpo
