#include "trainer/status/watchdog.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

namespace grpo {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(500);
constexpr size_t kMaxNamed = 8;

StallDetector::Observation Observe(const v1::RunStatus& status, const std::vector<Collectives::Phase>& phases) {
  StallDetector::Observation seen;
  for (const Collectives::Phase& phase : phases)
    seen.ranks.push_back({.phase = phase.name, .sequence = phase.sequence});
  // Outside of a step rank 0 does what the others have no part in.
  if (status.phase() != "step") seen.ranks[0].phase = status.phase();
  for (const v1::StageStatus& stage : status.stages()) seen.num_steps += stage.step();
  std::vector<std::string> holders;
  for (const v1::WorkerStatus& worker : status.workers()) {
    seen.progress += worker.num_tokens_generated();
    if (worker.num_leases() > 0 && holders.size() < kMaxNamed)
      holders.push_back(absl::StrCat(worker.name(), " (", worker.num_leases(), ")"));
  }
  seen.holders = absl::StrJoin(holders, ", ");
  seen.progress += status.leases().num_ready();
  seen.excused = status.state() != v1::RUN_STATE_RUNNING && status.state() != v1::RUN_STATE_STALLED;
  return seen;
}

}  // namespace

Watchdog::Watchdog(Collectives* collectives, StatusBoard* board, absl::Duration stall_after)
    : collectives_(collectives),
      board_(board),
      detector_(stall_after),
      thread_(StartThread("the watchdog", [this] { Loop(); })) {}

Watchdog::~Watchdog() {
  stop_.Notify();
  thread_.join();
}

void Watchdog::Loop() {
  while (!stop_.WaitFor(kInterval)) Look();
}

void Watchdog::Look() {
  const absl::StatusOr<std::vector<Collectives::Phase>> phases = collectives_->Phases();
  // A store that is gone ends the step, which says so.
  if (!phases.ok()) return;
  const StallDetector::Observation seen = Observe(board_->Snapshot(), *phases);
  const bool was_stalled = !detector_.reason().empty();
  detector_.Look(seen, Clock::Real().Now());
  if (!was_stalled && !detector_.reason().empty()) spdlog::error("THE RUN IS STALLED: {}", detector_.reason());
  if (was_stalled && detector_.reason().empty()) spdlog::info("the run moves again");
  std::vector<v1::RankStatus> ranks;
  for (size_t rank = 0; rank < seen.ranks.size(); ++rank) {
    v1::RankStatus& status = ranks.emplace_back();
    status.set_rank(static_cast<int32_t>(rank));
    status.set_phase(seen.ranks[rank].phase);
    status.set_phase_for_ms(absl::ToInt64Milliseconds(detector_.phase_ages()[rank]));
    const DeviceMemory& memory = (*phases)[rank].memory;
    // Of the CPU all is zero.
    if (memory.peak_bytes == 0 && memory.reserved_bytes == 0) continue;
    status.mutable_device_memory()->set_allocated_bytes(memory.allocated_bytes);
    status.mutable_device_memory()->set_peak_bytes(memory.peak_bytes);
    status.mutable_device_memory()->set_reserved_bytes(memory.reserved_bytes);
  }
  board_->SetRanks(std::move(ranks), detector_.reason());
}

}  // namespace grpo
