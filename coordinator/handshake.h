// What every process that registers must have in common with this one.
#ifndef GRPO_COORDINATOR_HANDSHAKE_H_
#define GRPO_COORDINATOR_HANDSHAKE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/version.h"
#include "proto/coordinator.pb.h"

namespace grpo {

// FailedPrecondition: `who` ("worker") says `theirs` in that field of its registration, this coordinator `ours`.
absl::Status Mismatch(absl::string_view who, absl::string_view field, absl::string_view theirs, absl::string_view ours);

// Mismatch for another protocol version, or another run where the request names one.
template <typename Request>
absl::Status CheckProtocolAndRun(absl::string_view who, const Request& request, const std::string& run_id) {
  if (request.protocol_version() != kProtocolVersion) {
    return Mismatch(who, "protocol_version", absl::StrCat(request.protocol_version(), " (build ", request.build(), ")"),
                    absl::StrCat(kProtocolVersion, " (build ", kBuild, ")"));
  }
  if (!request.run_id().empty() && request.run_id() != run_id) return Mismatch(who, "run_id", request.run_id(), run_id);
  return absl::OkStatus();
}

// The first of `served` that the worker can use, too; Mismatch, with both lists, without one.
absl::StatusOr<std::string> PickWeightChannel(const v1::RegisterRequest& request,
                                              const std::vector<std::string>& served);

}  // namespace grpo

#endif  // GRPO_COORDINATOR_HANDSHAKE_H_
