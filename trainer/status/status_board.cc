#include "trainer/status/status_board.h"

#include <algorithm>
#include <utility>

#include "common/rpc/check_message.h"
#include "common/rpc/refusals.h"

namespace grpo {
namespace {

// A cause of waiting that is younger than this is no pause: workers start, groups are scored.
constexpr absl::Duration kBlockedTolerance = absl::Seconds(3);
// Of the workers, and of the reward servers: what others say of themselves must leave room for the rest of a status in
// one message, of 4 MiB.
constexpr int64_t kMaxListBytes = int64_t{3} << 19;

// Appends as many of the `rows`, in their order, as fit; how many do not. Those that are lost give way to the others.
template <typename Row>
int32_t AppendRows(std::vector<Row> rows, google::protobuf::RepeatedPtrField<Row>* list) {
  int64_t num_bytes = 0;
  std::vector<bool> fits(rows.size());
  for (const bool lost : {false, true}) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if ((rows[i].state() == v1::WORKER_STATE_LOST) != lost) continue;
      // The row's own tag and length beside it.
      num_bytes += static_cast<int64_t>(rows[i].ByteSizeLong()) + 8;
      fits[i] = num_bytes <= kMaxListBytes;
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (fits[i]) *list->Add() = std::move(rows[i]);
  }
  return static_cast<int32_t>(std::count(fits.begin(), fits.end(), false));
}

}  // namespace

StatusBoard::StatusBoard(v1::RunStatus initial, const Coordinator* coordinator, const Clock& clock)
    : coordinator_(coordinator), clock_(clock), start_(clock.Now()), status_(std::move(initial)) {}

void StatusBoard::Update(absl::FunctionRef<void(v1::RunStatus&)> change) {
  const MutexLock lock(&mutex_);
  change(status_);
  status_.set_sequence(status_.sequence() + 1);
}

void StatusBoard::UpdateStage(absl::FunctionRef<void(v1::StageStatus&)> change) {
  Update([&](v1::RunStatus& status) { change(*status.mutable_stages(status.stage_index())); });
}

void StatusBoard::SetRemaining(double seconds, int64_t done, int64_t left) {
  Update([&](v1::RunStatus& status) {
    status.set_stage_remaining_seconds(seconds / static_cast<double>(done) * static_cast<double>(left));
  });
}

void StatusBoard::SetPhase(const std::string& phase) {
  Update([&](v1::RunStatus& status) { status.set_phase(phase); });
}

void StatusBoard::SetPauseReason(const std::string& reason) {
  const MutexLock lock(&mutex_);
  pause_reason_ = reason;
  status_.set_sequence(status_.sequence() + 1);
}

void StatusBoard::SetRanks(std::vector<v1::RankStatus> ranks, const std::string& stall_reason) {
  const MutexLock lock(&mutex_);
  status_.clear_ranks();
  for (v1::RankStatus& rank : ranks) *status_.add_ranks() = std::move(rank);
  // Watchers hear of ages with their next snapshot anyway.
  if (stall_reason_.empty() != stall_reason.empty()) status_.set_sequence(status_.sequence() + 1);
  stall_reason_ = stall_reason;
}

void StatusBoard::SetCheckpoint(const v1::CheckpointStatus& checkpoint) {
  const MutexLock lock(&mutex_);
  *status_.mutable_last_checkpoint() = checkpoint;
  checkpoint_at_ = clock_.Now();
  status_.set_sequence(status_.sequence() + 1);
}

void StatusBoard::SetCheckpointError(const std::string& error) {
  Update([&](v1::RunStatus& status) { status.mutable_last_checkpoint()->set_error(error); });
}

void StatusBoard::SetAlert(const std::string& matter, const std::string& text) {
  const MutexLock lock(&mutex_);
  std::string& alert = alerts_[matter];
  if (alert == text) return;
  alert = text;
  status_.set_sequence(status_.sequence() + 1);
}

v1::RunStatus StatusBoard::Snapshot() const {
  const MutexLock lock(&mutex_);
  return SnapshotLocked();
}

v1::RunStatus StatusBoard::SnapshotLocked() const {
  v1::RunStatus status = status_;
  const absl::Duration now = clock_.Now();
  status.set_elapsed_seconds(absl::ToDoubleSeconds(now - start_));
  if (!status.last_checkpoint().path().empty()) {
    status.mutable_last_checkpoint()->set_age_ms(absl::ToInt64Milliseconds(now - checkpoint_at_));
  }
  status.set_num_unlisted(AppendRows(coordinator_->Workers(), status.mutable_workers()) +
                          AppendRows(coordinator_->RewardServers(), status.mutable_reward_servers()));
  *status.mutable_leases() = coordinator_->Counters();
  for (const auto& [matter, text] : alerts_) {
    if (!text.empty()) status.add_alerts(text);
  }
  for (const auto& [reason, num_refused] : rpc::Refusals::OfProcess().Counts())
    (*status.mutable_refused_callers())[reason] = num_refused;
  if (status.state() == v1::RUN_STATE_RUNNING) {
    std::string reason = pause_reason_;
    if (reason.empty() && status.phase() == "wait_rollouts") reason = coordinator_->BlockedReason(kBlockedTolerance);
    if (!reason.empty()) {
      status.set_state(v1::RUN_STATE_PAUSED);
      status.set_state_reason(reason);
    } else if (!stall_reason_.empty()) {
      status.set_state(v1::RUN_STATE_STALLED);
      status.set_state_reason(stall_reason_);
    }
  }
  // Reasons may quote anything, and a status that cannot be read would be one for nobody.
  rpc::CutTexts(&status);
  return status;
}

v1::RunStatus StatusBoard::WaitForChange(int64_t sequence, absl::Duration timeout) const {
  const MutexLock lock(&mutex_);
  const auto changed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return status_.sequence() > sequence; };
  mutex_.AwaitFor(changed, timeout);
  return SnapshotLocked();
}

}  // namespace grpo
