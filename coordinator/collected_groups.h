// The groups that a run has collected, remembered without their content, so that a result which comes late or twice is
// answered as if the group were still there. Pure data. Thread-compatible.
//
// Neighbours with the same attempt and holder are one run, [first, end). Who held a group only tells two workers apart
// that name the same attempt, which no worker of this project does; it is remembered for the newest kMaxHolderRuns runs
// and forgotten then, and what is left are as many runs as there were leases that ran out: memory does not grow with
// the number of groups.
#ifndef GRPO_COORDINATOR_COLLECTED_GROUPS_H_
#define GRPO_COORDINATOR_COLLECTED_GROUPS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

namespace grpo {

class CollectedGroups {
 public:
  // Of some 100 bytes each. At least as many groups, so steps and steps of them.
  static constexpr int64_t kMaxHolderRuns = 16384;

  // The attempt whose result was collected.
  struct Attempt {
    // From 1.
    int32_t attempt = 0;
    // Worker that made it; empty when that is no longer known.
    std::string holder;
  };

  // Of a group that is not in here yet. Groups of a stage may come in any order.
  void Add(const std::string& stage, int64_t group_index, const Attempt& attempt);

  // Null for a group that is not in here. Good until the next change. In O(log of the runs of the stage).
  const Attempt* Find(const std::string& stage, int64_t group_index) const;

  // Runs in memory.
  int64_t num_runs() const;

 private:
  struct Run {
    // One past the last group.
    int64_t end = 0;
    Attempt attempt;
  };
  // By first group.
  using Runs = std::map<int64_t, Run>;

  // The run that begins at or before the group; end() when there is none.
  static Runs::iterator RunBefore(Runs& runs, int64_t group_index);
  // Makes one of this run and the one before it where they touch and say the same; the run that is left.
  static Runs::iterator JoinWithPrevious(Runs& runs, Runs::iterator run);
  // Clears the holder of the oldest run that still has one, and joins the run with neighbours that then say the same.
  void ForgetOldestHolder();

  std::map<std::string, Runs> stages_;
  // Stage and first group of the runs whose holder is known, oldest first.
  std::deque<std::pair<std::string, int64_t>> with_holder_;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_COLLECTED_GROUPS_H_
