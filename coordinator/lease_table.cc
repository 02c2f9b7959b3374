#include "coordinator/lease_table.h"

#include <set>

#include "absl/strings/str_cat.h"
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
  std::set<std::pair<std::string, int64_t>> seen;
  for (const v1::Lease& group : groups) {
    RETURN_IF_ERROR(CheckOffer(group));
    const std::string& stage = group.key().stage();
    const int64_t index = group.key().group_index();
    if (FindGroup(stage, index) != nullptr || !seen.emplace(stage, index).second) {
      return absl::AlreadyExistsError(
          absl::StrCat(Describe(stage, index), " was offered before; a group is offered once"));
    }
  }
  for (const v1::Lease& offered : groups) {
    Group& group = groups_[offered.key().stage()][offered.key().group_index()];
    group.order = num_offered_total_++;
    group.content = std::make_unique<ScoredGroup>();
    v1::Lease& lease = group.content->lease;
    lease = offered;
    lease.mutable_key()->set_attempt(0);
    lease.mutable_key()->set_epoch(epoch_);
    lease.set_ttl_ms(absl::ToInt64Milliseconds(ttl_));
    pending_.emplace(group.order, &group);
  }
  return absl::OkStatus();
}

void LeaseTable::Expire(absl::Duration now) {
  while (!leased_.empty() && leased_.begin()->first.first <= now) {
    MakePending(*leased_.begin()->second);
    ++num_expired_total_;
  }
}

absl::Duration LeaseTable::NextExpiry() const {
  return leased_.empty() ? absl::InfiniteDuration() : leased_.begin()->first.first;
}

std::vector<v1::Lease> LeaseTable::Take(const std::string& worker_id, int64_t max_groups, int64_t max_completions,
                                        absl::Duration now) {
  std::vector<v1::Lease> taken;
  int64_t num_completions = 0, num_bytes = 0;
  while (!pending_.empty() && static_cast<int64_t>(taken.size()) < max_groups) {
    Group& group = *pending_.begin()->second;
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
  MakeLeased(*FindGroup(key.stage(), key.group_index()), now);
  return true;
}

void LeaseTable::Release(const std::string& worker_id) {
  for (auto it = leased_.begin(); it != leased_.end();) {
    Group& group = *(it++)->second;
    if (group.holder == worker_id) MakePending(group);
  }
}

absl::StatusOr<const v1::Lease*> LeaseTable::Find(const std::string& worker_id, const v1::LeaseKey& key) const {
  const std::string name = Describe(key.stage(), key.group_index());
  if (key.epoch() != epoch_) {
    return absl::FailedPreconditionError(absl::StrCat("the lease of ", name, " is of epoch ", key.epoch(),
                                                      ", this coordinator's is ", epoch_, ": drop it and lease again"));
  }
  const Group* group = FindGroup(key.stage(), key.group_index());
  if (group == nullptr || group->attempt == 0) {
    return absl::FailedPreconditionError(absl::StrCat(name, " was never leased: drop it"));
  }
  if (key.attempt() != group->attempt) {
    return absl::FailedPreconditionError(absl::StrCat("attempt ", key.attempt(), " at ", name, " ran out and attempt ",
                                                      group->attempt, " was leased since: drop it"));
  }
  if (group->holder != worker_id) {
    return absl::FailedPreconditionError(absl::StrCat("attempt ", key.attempt(), " at ", name, " was leased to ",
                                                      group->holder, ", not to ", worker_id, ": drop it"));
  }
  if (group->state == State::kReady || group->state == State::kCollected) return nullptr;
  return &group->content->lease;
}

void LeaseTable::Accept(const v1::LeaseKey& key, ScoredGroup result) {
  Group& group = *FindGroup(key.stage(), key.group_index());
  Detach(group);
  result.lease = std::move(group.content->lease);
  *group.content = std::move(result);
  group.state = State::kReady;
  ++num_ready_;
}

void LeaseTable::Fail(const v1::LeaseKey& key, const std::string& error) {
  Accept(key, ScoredGroup());
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

absl::StatusOr<std::vector<ScoredGroup>> LeaseTable::Collect(const std::string& stage, int64_t first, int64_t count) {
  RETURN_IF_ERROR(FindError(stage, first, count));
  for (int64_t i = first; i < first + count; ++i) {
    if (!IsReady(stage, i)) return absl::FailedPreconditionError(absl::StrCat(Describe(stage, i), " is not ready"));
  }
  std::vector<ScoredGroup> collected;
  collected.reserve(static_cast<size_t>(count));
  for (int64_t i = first; i < first + count; ++i) {
    Group& group = *FindGroup(stage, i);
    collected.push_back(std::move(*group.content));
    group.content.reset();
    group.state = State::kCollected;
    --num_ready_;
  }
  return collected;
}

absl::Status LeaseTable::CheckCollectable(const std::string& stage, int64_t first, int64_t count) const {
  for (int64_t i = first; i < first + count; ++i) {
    const Group* group = FindGroup(stage, i);
    if (group != nullptr && group->state == State::kCollected) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe(stage, i), " was collected before; a group is collected once"));
    }
  }
  return absl::OkStatus();
}

int32_t LeaseTable::NumLeasedTo(const std::string& worker_id) const {
  int32_t num_leased = 0;
  for (const auto& [when, group] : leased_) num_leased += group->holder == worker_id;
  return num_leased;
}

const LeaseTable::Group* LeaseTable::FindGroup(const std::string& stage, int64_t group_index) const {
  const auto groups = groups_.find(stage);
  if (groups == groups_.end()) return nullptr;
  const auto group = groups->second.find(group_index);
  return group == groups->second.end() ? nullptr : &group->second;
}

void LeaseTable::MakePending(Group& group) {
  Detach(group);
  group.state = State::kPending;
  pending_.emplace(group.order, &group);
}

void LeaseTable::MakeLeased(Group& group, absl::Duration now) {
  Detach(group);
  group.state = State::kLeased;
  group.expires = now + ttl_;
  leased_.emplace(std::pair(group.expires, group.order), &group);
}

void LeaseTable::Detach(Group& group) {
  if (group.state == State::kPending) pending_.erase(group.order);
  if (group.state == State::kLeased) leased_.erase({group.expires, group.order});
}

}  // namespace grpo
