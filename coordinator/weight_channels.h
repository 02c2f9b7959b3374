// How a way in which weights come to workers is written in a registration: its name, which both sides know, and, from
// the coordinator, after a colon where it is to be had.
//
//   grpc           Coordinator.PullWeights, in chunks
//   memfd:PATH     memory of the coordinator's, lent over the socket at PATH (coordinator/local_weights.h)
#ifndef GRPO_COORDINATOR_WEIGHT_CHANNELS_H_
#define GRPO_COORDINATOR_WEIGHT_CHANNELS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

inline constexpr char kGrpcChannel[] = "grpc";
inline constexpr char kMemfdChannel[] = "memfd";

// What stands before the first colon.
inline absl::string_view ChannelName(absl::string_view channel) {
  return channel.substr(0, channel.find(':'));
}

// What stands behind it; empty where there is none.
inline absl::string_view ChannelAddress(absl::string_view channel) {
  channel.remove_prefix(ChannelName(channel).size());
  return channel.empty() ? channel : channel.substr(1);
}

}  // namespace grpo

#endif  // GRPO_COORDINATOR_WEIGHT_CHANNELS_H_
