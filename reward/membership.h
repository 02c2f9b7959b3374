// A reward server's part in a run, wherever the run's coordinator goes.
#ifndef GRPO_REWARD_MEMBERSHIP_H_
#define GRPO_REWARD_MEMBERSHIP_H_

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/rpc/coordinator_place.h"
#include "common/wait_notice.h"
#include "reward/registration.h"

namespace grpo {

// Registers at the coordinator that `place` names, once it names one, and at the next when it has moved. One thread.
class Membership {
 public:
  // `announcement` is as Registration wants it, `clock` outlives this. Registers at once where that can be. Errors of
  // rpc::Client::Create for a place that is an address.
  static absl::StatusOr<std::unique_ptr<Membership>> Join(CoordinatorPlace place,
                                                          Registration::Announcement announcement,
                                                          const Clock& clock = Clock::Real());

  // Looks what has become of it; to be called every second or so. Nothing while it goes on, otherwise how it ended: OK
  // after the run's end, or the coordinator's refusal, which counts once the place has not changed for
  // CoordinatorPlace::kStale.
  std::optional<absl::Status> Look();

 private:
  Membership(CoordinatorPlace place, Registration::Announcement announcement, const Clock& clock)
      : place_(std::move(place)), announcement_(std::move(announcement)), clock_(clock), waiting_(clock) {}
  // Where the place is known and can be used; otherwise why not.
  absl::Status Register();

  const CoordinatorPlace place_;
  const Registration::Announcement announcement_;
  const Clock& clock_;
  // For a file that is not there.
  WaitNotice waiting_;
  // Both or neither.
  CoordinatorPlace::Target target_;
  std::unique_ptr<Registration> registration_;
  // When registration_ was seen refused.
  std::optional<absl::Duration> refused_since_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_MEMBERSHIP_H_
