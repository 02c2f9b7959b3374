#include "coordinator/handshake.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "coordinator/weight_channels.h"

namespace grpo {

absl::Status Mismatch(absl::string_view who, absl::string_view field, absl::string_view theirs,
                      absl::string_view ours) {
  return absl::FailedPreconditionError(absl::StrCat("the ", who, "'s ", field, " is ", theirs,
                                                    ", this coordinator's is ", ours, ": start the ", who,
                                                    " with the binary and the configuration of this run"));
}

absl::StatusOr<std::string> PickWeightChannel(const v1::RegisterRequest& request,
                                              const std::vector<std::string>& served) {
  std::vector<std::string> offered(request.weight_channels().begin(), request.weight_channels().end());
  if (offered.empty()) offered.push_back(kGrpcChannel);
  for (const std::string& channel : served) {
    if (std::find(offered.begin(), offered.end(), ChannelName(channel)) != offered.end()) return channel;
  }
  return Mismatch("worker", "list of weight_channels", absl::StrJoin(offered, ", "), absl::StrJoin(served, ", "));
}

}  // namespace grpo
