#include "trainer/status/stall_detector.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grpo {
namespace {

constexpr size_t kMaxSteps = 31;
constexpr int kMedianFactor = 10;
constexpr char kWaitRollouts[] = "wait_rollouts";

// What a rank in this phase needs before it can go on.
absl::string_view WaitsFor(absl::string_view phase) {
  if (phase == kWaitRollouts) return "waits for the rollout workers";
  if (phase == "wait_for_rank_0") return "waits for rank 0";
  if (phase == "all_reduce" || phase == "agree" || phase == "compare") return "waits for the other ranks";
  if (phase == "save") return "waits for the disk";
  return "is at work";
}

}  // namespace

void StallDetector::Look(const Observation& observation, absl::Duration now) {
  bool moved = !looked_ || observation.excused || observation.progress != last_.progress;
  if (observation.num_steps != last_.num_steps || !looked_) {
    if (looked_) step_durations_.push_back(now - step_at_);
    if (step_durations_.size() > kMaxSteps) step_durations_.pop_front();
    step_at_ = now;
    moved = true;
  }
  phase_since_.resize(observation.ranks.size(), now);
  phase_ages_.resize(observation.ranks.size());
  for (size_t rank = 0; rank < observation.ranks.size(); ++rank) {
    const bool same = looked_ && rank < last_.ranks.size() &&
                      observation.ranks[rank].phase == last_.ranks[rank].phase &&
                      observation.ranks[rank].sequence == last_.ranks[rank].sequence;
    if (!same) {
      phase_since_[rank] = now;
      moved = true;
    }
    phase_ages_[rank] = now - phase_since_[rank];
  }
  if (moved) moved_at_ = now;
  looked_ = true;
  last_ = observation;
  reason_ = now - moved_at_ >= Threshold() ? Describe() : "";
}

absl::Duration StallDetector::Threshold() const {
  if (step_durations_.empty()) return stall_after_;
  std::vector<absl::Duration> sorted(step_durations_.begin(), step_durations_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return std::max(stall_after_, kMedianFactor * *middle);
}

std::string StallDetector::Describe() const {
  std::string text = absl::StrCat("nothing has moved for longer than ", absl::FormatDuration(Threshold()));
  for (size_t rank = 0; rank < last_.ranks.size(); ++rank) {
    const std::string& phase = last_.ranks[rank].phase;
    absl::StrAppend(&text, rank == 0 ? ": " : "; ", "rank ", rank, " ", WaitsFor(phase), " (", phase, ")");
    if (rank == 0 && phase == kWaitRollouts && !last_.holders.empty())
      absl::StrAppend(&text, "; groups are with ", last_.holders);
  }
  return text;
}

}  // namespace grpo
