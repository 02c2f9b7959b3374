#include "coordinator/collected_groups.h"

#include <iterator>

namespace grpo {

void CollectedGroups::Add(const std::string& stage, int64_t group_index, const Attempt& attempt) {
  Runs& runs = stages_[stage];
  const auto previous = RunBefore(runs, group_index);
  if (previous != runs.end() && previous->second.end == group_index &&
      previous->second.attempt.attempt == attempt.attempt && previous->second.attempt.holder == attempt.holder) {
    ++previous->second.end;
    return;
  }
  runs.emplace(group_index, Run{.end = group_index + 1, .attempt = attempt});
  with_holder_.emplace_back(stage, group_index);
  if (static_cast<int64_t>(with_holder_.size()) > kMaxHolderRuns) ForgetOldestHolder();
}

const CollectedGroups::Attempt* CollectedGroups::Find(const std::string& stage, int64_t group_index) const {
  const auto runs = stages_.find(stage);
  if (runs == stages_.end()) return nullptr;
  auto run = runs->second.upper_bound(group_index);
  if (run == runs->second.begin() || (--run)->second.end <= group_index) return nullptr;
  return &run->second.attempt;
}

int64_t CollectedGroups::num_runs() const {
  int64_t count = 0;
  for (const auto& [stage, runs] : stages_) count += static_cast<int64_t>(runs.size());
  return count;
}

CollectedGroups::Runs::iterator CollectedGroups::RunBefore(Runs& runs, int64_t group_index) {
  const auto next = runs.upper_bound(group_index);
  return next == runs.begin() ? runs.end() : std::prev(next);
}

CollectedGroups::Runs::iterator CollectedGroups::JoinWithPrevious(Runs& runs, Runs::iterator run) {
  if (run == runs.begin()) return run;
  const auto previous = std::prev(run);
  // A run whose holder is known stands in with_holder_ by its first group, and stays.
  if (previous->second.end != run->first || previous->second.attempt.attempt != run->second.attempt.attempt ||
      !previous->second.attempt.holder.empty() || !run->second.attempt.holder.empty()) {
    return run;
  }
  previous->second.end = run->second.end;
  runs.erase(run);
  return previous;
}

void CollectedGroups::ForgetOldestHolder() {
  const auto [stage, first] = std::move(with_holder_.front());
  with_holder_.pop_front();
  Runs& runs = stages_.at(stage);
  auto run = runs.find(first);
  run->second.attempt.holder.clear();
  run = JoinWithPrevious(runs, run);
  // Groups may be collected in any order.
  if (const auto next = std::next(run); next != runs.end()) JoinWithPrevious(runs, next);
}

}  // namespace grpo
