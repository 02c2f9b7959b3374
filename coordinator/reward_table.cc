#include "coordinator/reward_table.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/names.h"

namespace grpo {
namespace {

constexpr int kMaxProfiles = 256;

absl::Status CheckAddress(const std::string& address) {
  RETURN_IF_ERROR(CheckName("the address of a reward server", address, "see network.advertise_host"));
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon != std::string::npos && colon > 0 && absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= 1 &&
      port <= 65535)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a reward server's address is \"", address,
                                                 "\", which is not HOST:PORT: see network.advertise_host"));
}

}  // namespace

absl::StatusOr<bool> RewardTable::Register(const v1::RegisterRewardServerRequest& request, absl::Duration now) {
  RETURN_IF_ERROR(CheckName("the name of a reward server", request.name(), "give it another --name"));
  RETURN_IF_ERROR(CheckAddress(request.address()));
  if (request.profiles_size() > kMaxProfiles) {
    return absl::InvalidArgumentError(
        absl::StrCat(request.name(), " serves ", request.profiles_size(), " profiles, at most ", kMaxProfiles));
  }
  for (const v1::RewardProfileRef& profile : request.profiles()) {
    RETURN_IF_ERROR(CheckName("the name of one of a reward server's profiles", profile.name(), "see `rewards`"));
    if (profile.sha256().empty()) continue;
    RETURN_IF_ERROR(CheckName("the sha256 of one of a reward server's profiles", profile.sha256(), "see `rewards`"));
  }
  const auto known = servers_.find(request.name());
  if (known == servers_.end() && servers_.size() >= kMaxServers) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kMaxServers,
                     " names of reward servers are registered, no more are taken: start servers under the "
                     "names of those that died"));
  }
  const bool is_new =
      known == servers_.end() || known->second.address != request.address() || IsLost(known->second, now);
  Server& server = servers_[request.name()];
  server.address = request.address();
  server.profiles.assign(request.profiles().begin(), request.profiles().end());
  server.last_seen = now;
  return is_new;
}

void RewardTable::Remove(const std::string& name, const std::string& address) {
  const auto known = servers_.find(name);
  if (known != servers_.end() && known->second.address == address) servers_.erase(known);
}

std::vector<std::string> RewardTable::Addresses(absl::Duration now) const {
  std::vector<std::string> addresses;
  for (const auto& [name, server] : servers_) {
    if (!IsLost(server, now)) addresses.push_back(server.address);
  }
  return addresses;
}

std::vector<v1::RewardServerStatus> RewardTable::Statuses(absl::Duration now) const {
  std::vector<v1::RewardServerStatus> statuses;
  for (const auto& [name, server] : servers_) {
    v1::RewardServerStatus& status = statuses.emplace_back();
    status.set_name(name);
    status.set_address(server.address);
    status.set_state(IsLost(server, now) ? v1::WORKER_STATE_LOST : v1::WORKER_STATE_ACTIVE);
    status.set_last_seen_ms(absl::ToInt64Milliseconds(now - server.last_seen));
    for (const v1::RewardProfileRef& profile : server.profiles) *status.add_profiles() = profile;
  }
  return statuses;
}

}  // namespace grpo
