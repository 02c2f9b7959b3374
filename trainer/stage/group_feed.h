// The groups of a stage on their way through the coordinator: offered as far ahead as its buffer holds, collected in
// order. A group that killed its workers is recorded, and the stage goes on without it.
#ifndef GRPO_TRAINER_STAGE_GROUP_FEED_H_
#define GRPO_TRAINER_STAGE_GROUP_FEED_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/stage/context.h"

namespace grpo {

// How many groups a stage without steps collects at a time: how often its status moves.
inline constexpr int64_t kCollectGroups = 32;

// One thread.
class GroupFeed {
 public:
  // Groups first .. end-1 of `stage`; make_lease(i) makes the lease of group i. Nothing else of the run is in the
  // coordinator's buffer meanwhile.
  GroupFeed(RunContext* context, std::string stage, int64_t first, int64_t end,
            std::function<v1::Lease(int64_t)> make_lease)
      : context_(*context),
        stage_(std::move(stage)),
        next_(first),
        next_offer_(first),
        end_(end),
        make_lease_(std::move(make_lease)) {}

  // The next `count` groups, of which as many must be left; those that were quarantined are missing. `poll` is called
  // every now and then, and its error ends the wait.
  absl::StatusOr<std::vector<ScoredGroup>> Next(int64_t count, const std::function<absl::Status()>& poll);

 private:
  absl::Status Offer();
  absl::StatusOr<std::vector<ScoredGroup>> Collect(int64_t count, const std::function<absl::Status()>& poll);
  // Records what was quarantined, and pauses the run when that is more than it may be.
  absl::Status RecordQuarantined(const std::function<absl::Status()>& poll);

  RunContext& context_;
  const std::string stage_;
  // First group that is not collected, and that is not offered.
  int64_t next_, next_offer_;
  const int64_t end_;
  const std::function<v1::Lease(int64_t)> make_lease_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_GROUP_FEED_H_
