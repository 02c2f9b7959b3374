#include "reward/membership.h"

#include <string>
#include <utility>

#include "common/log.h"
#include "common/rpc/client.h"
#include "common/status_macros.h"

namespace grpo {

absl::StatusOr<std::unique_ptr<Membership>> Membership::Join(CoordinatorPlace place,
                                                             Registration::Announcement announcement,
                                                             const Clock& clock) {
  std::unique_ptr<Membership> membership(new Membership(std::move(place), std::move(announcement), clock));
  const absl::Status registered = membership->Register();
  // A file may say better tomorrow.
  if (!membership->place_.is_file()) RETURN_IF_ERROR(registered);
  return membership;
}

absl::Status Membership::Register() {
  ASSIGN_OR_RETURN(CoordinatorPlace::Target target, place_.Look());
  ASSIGN_OR_RETURN(std::shared_ptr<rpc::Client> client, rpc::Client::Create(target.address, target.client));
  registration_ = std::make_unique<Registration>(std::move(client), announcement_);
  target_ = std::move(target);
  refused_since_.reset();
  waiting_.End();
  return absl::OkStatus();
}

std::optional<absl::Status> Membership::Look() {
  if (registration_ == nullptr) {
    const absl::Status registered = Register();
    if (!registered.ok() && waiting_.Due())
      spdlog::info("waiting{} until the trainer says where it serves: {}", waiting_.For(),
                   std::string(registered.message()));
    return std::nullopt;
  }
  if (place_.MovedFrom(target_)) {
    spdlog::info("the trainer serves elsewhere now, this server follows");
    // Takes its leave, which a coordinator that is gone answers within a second or not at all.
    registration_.reset();
    return Look();
  }
  if (!registration_->ended()) return std::nullopt;
  absl::Status status = registration_->status();
  if (status.ok() || !place_.is_file()) return status;
  // A trainer that was killed leaves its file behind, and somebody else may have its port by now.
  if (!refused_since_.has_value()) refused_since_ = clock_.Now();
  if (clock_.Now() - *refused_since_ < CoordinatorPlace::kStale) return std::nullopt;
  return status;
}

}  // namespace grpo
