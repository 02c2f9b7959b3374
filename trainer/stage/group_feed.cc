#include "trainer/stage/group_feed.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// How long the training thread waits for groups before it looks at requests from outside.
constexpr absl::Duration kCollectPoll = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<std::vector<ScoredGroup>> GroupFeed::Next(int64_t count, const std::function<absl::Status()>& poll) {
  // Workers find the other half of a full buffer while one half is collected.
  const int64_t max_part = std::max<int64_t>(1, channel_.options.max_buffered_groups / 2);
  std::vector<ScoredGroup> groups;
  for (const int64_t last = next_ + count; next_ < last;) {
    // Also where workers are so fast that nothing is ever waited for.
    RETURN_IF_ERROR(poll());
    RETURN_IF_ERROR(Offer());
    const int64_t part = std::min(max_part, last - next_);
    ASSIGN_OR_RETURN(std::vector<ScoredGroup> collected, Collect(part, poll));
    std::move(collected.begin(), collected.end(), std::back_inserter(groups));
    next_ += part;
  }
  return groups;
}

absl::Status GroupFeed::Offer() {
  std::vector<v1::Lease> leases;
  const int64_t offer_end = std::min(end_, next_ + channel_.options.max_buffered_groups);
  for (; next_offer_ < offer_end; ++next_offer_) leases.push_back(make_lease_(next_offer_));
  return channel_.coordinator.Offer(leases);
}

absl::StatusOr<std::vector<ScoredGroup>> GroupFeed::Collect(int64_t count, const std::function<absl::Status()>& poll) {
  channel_.board.SetPhase("wait_rollouts");
  while (true) {
    absl::StatusOr<std::vector<ScoredGroup>> groups = channel_.coordinator.Collect(stage_, next_, count, kCollectPoll);
    RETURN_IF_ERROR(RecordQuarantined(poll));
    if (!absl::IsDeadlineExceeded(groups.status())) return groups;
    RETURN_IF_ERROR(poll());
  }
}

absl::Status GroupFeed::RecordQuarantined(const std::function<absl::Status()>& poll) {
  const std::vector<QuarantinedGroup> groups = channel_.coordinator.TakeQuarantined();
  if (groups.empty()) return absl::OkStatus();
  for (const QuarantinedGroup& group : groups) {
    const v1::LeaseKey& key = group.lease.key();
    spdlog::error(
        "GROUP {} OF STAGE {} IS QUARANTINED: {} died with it; the run goes on without it. Its prompt ({}) is in "
        "quarantine.jsonl",
        key.group_index(), key.stage(), absl::StrJoin(group.dead_workers, " and "), group.lease.prompt().id());
  }
  const absl::Status written = channel_.quarantine.Append(groups);
  if (!written.ok())
    spdlog::error("{}; the run goes on, and a resumed one would meet these groups again", written.ToString());
  const int64_t num_quarantined = static_cast<int64_t>(channel_.quarantine.entries().size());
  const int64_t allowed = channel_.options.max_quarantined_groups;
  if (num_quarantined <= allowed) return absl::OkStatus();
  // Groups that are leased are left to their workers; no further worker dies before somebody has looked.
  channel_.coordinator.SetLeasing(false);
  channel_.control.Pause(absl::StrCat(
      num_quarantined, " groups killed their workers and are left out, coordinator.max_quarantined_groups is ", allowed,
      ": read quarantine.jsonl and the workers' logs; `grpoctl resume` goes on without these groups"));
  const absl::Status resumed = poll();
  channel_.coordinator.SetLeasing(true);
  return resumed;
}

}  // namespace grpo
