// The groups of a stage on their way through the coordinator: offered as far ahead as its buffer holds, collected in
// order. A group that killed its workers is recorded, and the stage goes on without it. Links no torch.
#ifndef GRPO_TRAINER_STAGE_GROUP_FEED_H_
#define GRPO_TRAINER_STAGE_GROUP_FEED_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/coordinator.h"
#include "coordinator/options.h"
#include "trainer/records/quarantine_log.h"
#include "trainer/status/control.h"
#include "trainer/status/status_board.h"

namespace grpo {

// How many groups a stage without steps collects at a time: how often its status moves.
inline constexpr int64_t kCollectGroups = 32;

// What a run's groups go through. Borrowed; copies refer to the same.
struct GroupChannel {
  // Of `coordinator`: how many groups it holds, and how many may be quarantined.
  const CoordinatorOptions& options;
  Coordinator& coordinator;
  QuarantineLog& quarantine;
  StatusBoard& board;
  RunControl& control;
};

// One thread.
class GroupFeed {
 public:
  // Groups first .. end-1 of `stage`; make_lease(i) makes the lease of group i, once, in order. Nothing else of the run
  // is in the coordinator's buffer meanwhile. What `channel` refers to outlives the feed.
  GroupFeed(const GroupChannel& channel, std::string stage, int64_t first, int64_t end,
            std::function<v1::Lease(int64_t)> make_lease)
      : channel_(channel),
        stage_(std::move(stage)),
        next_(first),
        next_offer_(first),
        end_(end),
        make_lease_(std::move(make_lease)) {}

  // The next `count` groups, of which as many must be left; those that were quarantined are missing. `poll` is called
  // first and every now and then, and its error ends the wait. Blocks. InvalidArgument when a worker said that a group
  // can never be produced, Aborted after the coordinator's end.
  absl::StatusOr<std::vector<ScoredGroup>> Next(int64_t count, const std::function<absl::Status()>& poll);

 private:
  // Offers what the buffer has room for.
  absl::Status Offer();
  // The next `count`, which must have been offered.
  absl::StatusOr<std::vector<ScoredGroup>> Collect(int64_t count, const std::function<absl::Status()>& poll);
  // Records what was quarantined, and pauses the run when that is more than it may be.
  absl::Status RecordQuarantined(const std::function<absl::Status()>& poll);

  const GroupChannel channel_;
  const std::string stage_;
  // First group that is not collected, and that is not offered.
  int64_t next_, next_offer_;
  const int64_t end_;
  const std::function<v1::Lease(int64_t)> make_lease_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_GROUP_FEED_H_
