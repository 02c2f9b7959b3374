// A way in which a policy's weights come to a worker. Which one is used is agreed on when the worker registers
// (proto/coordinator.proto): the worker offers those that it was built with, the coordinator picks.
#ifndef GRPO_ROLLOUT_WEIGHT_CHANNEL_H_
#define GRPO_ROLLOUT_WEIGHT_CHANNEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/rpc/client.h"
#include "proto/types.pb.h"
#include "rollout/held_policy.h"
#include "rollout/session.h"

namespace grpo {

// One thread.
class WeightChannel {
 public:
  virtual ~WeightChannel() = default;

  // Fetches, verifies and loads this version of a policy, and tries again for as long as lease `lease_id`, which needs
  // it, is active, while the session tells why it is blocked. `previous`, what this returned last, or null: its model
  // takes the new weights in place where the architecture is the same (only the number and the bytes are new, so
  // whatever was computed from the old weights is to be forgotten), and nothing may sample with it from here on; a
  // tokenizer that is the same is not made again. NotFound when the version is no longer kept, Cancelled when the lease
  // was lost or the session has ended, InvalidArgument when this build cannot run the policy; after an error the
  // weights of `previous` may be anything, and it is of use for the next Fetch only. Blocks. What it returns shares
  // nothing with the transfer.
  virtual absl::StatusOr<HeldPolicy> Fetch(const v1::PolicyRef& policy, int64_t lease_id,
                                           const HeldPolicy* previous) = 0;
};

// Those that this build has, the best first.
//   "memfd"  the coordinator's memory, where it is on this machine; "grpc" where that fails
//   "grpc"   Coordinator.PullWeights, in chunks
std::vector<std::string> WeightChannelNames();

// `name` as the coordinator said it, with its address (coordinator/weight_channels.h). `client` is the channel to the
// coordinator; `session` must outlive the result. The models lie on `device`. InvalidArgument for a name that is not in
// WeightChannelNames.
absl::StatusOr<std::unique_ptr<WeightChannel>> MakeWeightChannel(const std::string& name,
                                                                 std::shared_ptr<rpc::Client> client, Session* session,
                                                                 at::Device device = at::kCPU);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_WEIGHT_CHANNEL_H_
