// Tells a run that does not move from one that is slow, and says who holds it up. Pure data: no lock, no clock, no I/O;
// `now` is an argument that never goes back. Thread-compatible. Links no torch.
#ifndef GRPO_TRAINER_STATUS_STALL_DETECTOR_H_
#define GRPO_TRAINER_STATUS_STALL_DETECTOR_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace grpo {

class StallDetector {
 public:
  // Nothing is called stalled before `stall_after`, nor before ten times the median of the newest steps.
  explicit StallDetector(absl::Duration stall_after) : stall_after_(stall_after) {}

  // What one look at the run sees.
  struct Observation {
    // By rank: what it is doing, and a number that changes whenever it says so again.
    struct Rank {
      std::string phase;
      int64_t sequence = 0;
    };
    std::vector<Rank> ranks;
    // Grows with each step, of whatever stage.
    int64_t num_steps = 0;
    // Changes with anything else that moves: tokens sampled, groups scored. Only whether it changed counts.
    int64_t progress = 0;
    // Which workers hold groups, in words; may be empty.
    std::string holders;
    // A run that says itself why it waits (paused, ending) is not stalled.
    bool excused = false;
  };
  // Takes in what was seen at `now`.
  void Look(const Observation& observation, absl::Duration now);

  // How long each rank has been in its phase. By rank, as of the last Look; empty before the first.
  const std::vector<absl::Duration>& phase_ages() const { return phase_ages_; }
  // Empty while something moves. Otherwise for how long nothing has at least, and what each rank is doing or waits for;
  // the text stays the same until something moves.
  const std::string& reason() const { return reason_; }

 private:
  // How long nothing may move: the two bounds of the constructor.
  absl::Duration Threshold() const;
  // The text of reason_.
  std::string Describe() const;

  const absl::Duration stall_after_;
  // What Look was given last; nothing before the first.
  Observation last_;
  bool looked_ = false;
  // When something moved last, and when the newest step ended (or the first Look was), on the clock of `now`.
  absl::Duration moved_at_, step_at_;
  // By rank: since when it says what it says now, and how long that is.
  std::vector<absl::Duration> phase_since_, phase_ages_;
  // The newest, in order.
  std::deque<absl::Duration> step_durations_;
  std::string reason_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_STALL_DETECTOR_H_
