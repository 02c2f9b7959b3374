// Fetches policies from the coordinator by gRPC, over as many broken streams as it takes.
#ifndef GRPO_ROLLOUT_PULL_POLICY_H_
#define GRPO_ROLLOUT_PULL_POLICY_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/client.h"
#include "proto/coordinator.grpc.pb.h"
#include "rollout/held_policy.h"
#include "rollout/policy_loader.h"
#include "rollout/session.h"

namespace grpo {

// One thread. Keeps the memory that a payload is received into, which is needed beside the model, for the next one.
class PolicyPuller {
 public:
  // `session` and `loader` outlive this.
  PolicyPuller(std::shared_ptr<rpc::Client> client, Session* session, PolicyLoader* loader);

  // Pulls, verifies and loads. A stream that breaks is resumed at the byte it reached; bytes that do not verify are
  // fetched again; both for as long as lease `lease_id`, which needs the policy, is active, while the session tells why
  // it is blocked. `previous` as in PolicyLoader::Load.
  //
  // Errors: NotFound when the version is no longer kept, Cancelled when the lease was lost or the session has ended,
  // InvalidArgument when this build cannot run the policy, Internal when memory is short. Nothing here gives up by
  // itself on a coordinator that is away: the lease's end does. Blocks.
  absl::StatusOr<HeldPolicy> Pull(const v1::PolicyRef& policy, int64_t lease_id, const HeldPolicy* previous);

 private:
  // What has come of a version so far.
  struct Received {
    v1::WeightsManifest manifest;
    // Of manifest.payload_bytes(), the first `size` are in payload_; -1 before the manifest has come.
    int64_t size = -1;
    // This machine has not the memory for it.
    bool too_large = false;
  };

  // One stream, from the byte that received_ has reached.
  absl::Status PullOnce(const v1::PolicyRef& policy);
  // Takes one message of it.
  absl::Status Take(v1::PullWeightsResponse& response, const v1::PolicyRef& policy);
  absl::Status TakeManifest(v1::WeightsManifest& manifest, const v1::PolicyRef& policy);
  // Makes room for the payload; false when there is none to be had.
  bool Reserve(int64_t num_bytes);

  const std::shared_ptr<rpc::Client> client_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  Session& session_;
  PolicyLoader& loader_;
  // Of the version that is being pulled.
  Received received_;
  // Not zeroed: the kernel gives its pages as they are first written to.
  std::unique_ptr<char[]> payload_;
  int64_t capacity_ = 0;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_PULL_POLICY_H_
