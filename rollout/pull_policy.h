// Fetches a policy from the coordinator, over as many broken streams as it takes.
#ifndef GRPO_ROLLOUT_PULL_POLICY_H_
#define GRPO_ROLLOUT_PULL_POLICY_H_

#include "absl/status/statusor.h"
#include "common/rpc/client.h"
#include "proto/coordinator.grpc.pb.h"
#include "rollout/held_policy.h"
#include "rollout/session.h"

namespace grpo {

// Pulls, loads and verifies. A stream that breaks is resumed at the byte it reached; bytes that do not verify are
// fetched again; both for as long as lease `lease_id`, which needs the policy, is active, while the session tells why
// it is blocked. `previous`, what the worker held before, or null: a tokenizer that is the same is not parsed again.
//
// Errors: NotFound when the version is no longer kept, Cancelled when the lease was lost or the session has ended,
// InvalidArgument when this build cannot run the policy, Internal when memory is short. Nothing here gives up by itself
// on a coordinator that is away: the lease's end does. Needs memory for the payload beside the model. Blocks; one
// thread.
absl::StatusOr<HeldPolicy> PullPolicy(const rpc::Client& client, const v1::PolicyRef& policy, int64_t lease_id,
                                      Session& session, const HeldPolicy* previous = nullptr);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_PULL_POLICY_H_
