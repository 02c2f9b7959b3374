#include "common/rpc/coordinator_place.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/clock.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"
#include "common/wait_notice.h"
#include "spdlog/spdlog.h"

namespace grpo {
namespace {

bool IsAddress(absl::string_view text) {
  const size_t colon = text.rfind(':');
  int port = 0;
  return colon != absl::string_view::npos && colon > 0 && absl::SimpleAtoi(text.substr(colon + 1), &port) &&
         port >= 1 && port <= 65535;
}

// DIR/operator.pem as DIR/ROLE.pem; other names as they are.
std::string OfRole(const std::string& path, const std::string& role, absl::string_view extension) {
  absl::string_view folder = path;
  if (role.empty() || !absl::ConsumeSuffix(&folder, absl::StrCat("/operator", extension))) return path;
  return absl::StrCat(folder, "/", role, extension);
}

}  // namespace

absl::StatusOr<CoordinatorPlace> CoordinatorPlace::Parse(const std::string& text, rpc::ClientOptions own,
                                                         const std::string& role) {
  CoordinatorPlace place;
  place.own_ = std::move(own);
  place.role_ = role;
  if (absl::EndsWith(text, ".json")) {
    place.path_ = text;
  } else if (absl::StrContains(text, '/')) {
    place.path_ = RunEndpointPath(text);
  } else if (IsAddress(text)) {
    place.address_ = text;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("the coordinator is \"", text,
                     "\", which is neither HOST:PORT, such as node-3:7000, nor the path of a run's folder or of its "
                     "endpoint.json, such as ./runs/mine"));
  }
  return place;
}

absl::StatusOr<CoordinatorPlace::Target> CoordinatorPlace::Look() const {
  if (!is_file()) return Target{.address = address_, .client = own_};
  ASSIGN_OR_RETURN(Endpoint endpoint, ReadEndpoint(path_));
  endpoint.client.tls_cert = OfRole(endpoint.client.tls_cert, role_, ".pem");
  endpoint.client.tls_key = OfRole(endpoint.client.tls_key, role_, ".key");
  return Target{.address = endpoint.address, .client = rpc::OrElse(own_, endpoint.client)};
}

bool CoordinatorPlace::MovedFrom(const Target& target) const {
  if (!is_file()) return false;
  const absl::StatusOr<Target> now = Look();
  return now.ok() && *now != target;
}

absl::StatusOr<CoordinatorPlace::Target> CoordinatorPlace::Wait(const Sleep& sleep) const {
  WaitNotice waiting;
  while (true) {
    absl::StatusOr<Target> target = Look();
    if (target.ok()) return target;
    if (waiting.Due())
      spdlog::info("waiting{} until the trainer says where it serves: {}", waiting.For(),
                   std::string(target.status().message()));
    if (sleep(kInterval)) return absl::AbortedError("stopped before the trainer said where it serves");
  }
}

bool CoordinatorPlace::WaitForMove(const Target& target, const Sleep& sleep) const {
  if (!is_file()) return false;
  const absl::Duration until = Clock::Real().Now() + kStale;
  while (!MovedFrom(target)) {
    if (Clock::Real().Now() >= until || sleep(kInterval)) return false;
  }
  return true;
}

}  // namespace grpo
