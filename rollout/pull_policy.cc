#include "rollout/pull_policy.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/weight_set.h"

namespace grpo {
namespace {

// Of one stream; a transfer that takes longer goes on in the next.
constexpr absl::Duration kStreamDeadline = absl::Minutes(2);

// Takes one message of the stream into `received`, which holds the manifest and the bytes so far.
absl::Status Take(v1::PullWeightsResponse& response, const v1::PolicyRef& policy, WeightSet& received) {
  if (response.has_manifest()) {
    v1::WeightsManifest& manifest = *response.mutable_manifest();
    if (manifest.policy().policy_id() != policy.policy_id() || manifest.policy().number() != policy.number()) {
      return absl::DataLossError(
          absl::StrCat("the manifest is of ", manifest.policy().policy_id(), " version ", manifest.policy().number()));
    }
    const bool resumed = !received.payload.empty();
    if (resumed && manifest.digest() != received.manifest.digest()) {
      return absl::DataLossError("the version's content changed between two streams");
    }
    received.manifest = std::move(manifest);
    return absl::OkStatus();
  }
  const v1::WeightsChunk& chunk = response.chunk();
  const int64_t expected = received.payload.size(), size = chunk.data().size();
  if (chunk.offset_bytes() != expected || size > received.manifest.payload_bytes() - expected) {
    return absl::DataLossError(absl::StrCat("a chunk of ", size, " bytes at ", chunk.offset_bytes(), " where byte ",
                                            expected, " of ", received.manifest.payload_bytes(), " was next"));
  }
  received.payload.append(chunk.data());
  return absl::OkStatus();
}

// One stream, from the byte that `received` has reached.
absl::Status PullOnce(const rpc::Client& client, v1::Coordinator::Stub& stub, const v1::PolicyRef& policy,
                      Session& session, WeightSet& received) {
  v1::PullWeightsRequest request;
  *request.mutable_policy() = policy;
  request.set_offset_bytes(received.payload.size());
  grpc::ClientContext context;
  client.Prepare(context, kStreamDeadline);
  const InFlightCalls::Scope scope(&session.calls(), &context);
  const auto stream = stub.PullWeights(&context, request);
  v1::PullWeightsResponse response;
  absl::Status taken;
  while (taken.ok() && stream->Read(&response)) taken = Take(response, policy, received);
  if (!taken.ok()) context.TryCancel();
  const absl::Status finished = rpc::FromGrpc(stream->Finish());
  RETURN_IF_ERROR(taken);
  RETURN_IF_ERROR(finished);
  const int64_t num_bytes = received.payload.size();
  if (received.manifest.digest().empty() || num_bytes != received.manifest.payload_bytes()) {
    return absl::UnavailableError(
        absl::StrCat("the stream ended at byte ", num_bytes, " of ", received.manifest.payload_bytes()));
  }
  return absl::OkStatus();
}

// Asking again would be answered the same.
bool IsFinal(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnimplemented(status);
}

}  // namespace

absl::StatusOr<HeldPolicy> PullPolicy(const rpc::Client& client, const v1::PolicyRef& policy, int64_t lease_id,
                                      Session& session) {
  const std::string name = absl::StrCat("version ", policy.number(), " of policy ", policy.policy_id());
  const auto stub = v1::Coordinator::NewStub(client.channel());
  rpc::Backoff backoff;
  WeightSet received;
  while (!session.ended() && session.IsActive(lease_id)) {
    const size_t before = received.payload.size();
    absl::Status status = PullOnce(client, *stub, policy, session, received);
    if (status.ok()) status = VerifyWeights(received.manifest, received.payload);
    if (status.ok()) {
      session.ClearBlocked(lease_id);
      HeldPolicy held;
      const at::ScalarType dtype = ComputeDtype(received.manifest);
      ASSIGN_OR_RETURN(held.model,
                       MakeModel(received.manifest, received.payload, {.compute = dtype, .storage = dtype}));
      ASSIGN_OR_RETURN(held.tokenizer, Tokenizer::FromJson(TokenizerJson(received.manifest, received.payload)));
      held.manifest = std::move(received.manifest);
      return held;
    }
    if (IsFinal(status)) return Annotate(status, name);
    if (absl::IsDataLoss(status)) received = {};
    if (received.payload.size() > before) backoff.Reset();
    const std::string reason = absl::StrCat("pulling ", name, " from ", client.address(), ": ", status.message());
    if (!session.ended()) spdlog::warn("{}; trying again from byte {}", reason, received.payload.size());
    session.SetBlocked(lease_id, reason);
    session.WaitForEnd(backoff.Next());
  }
  return absl::CancelledError(absl::StrCat(name, " is no longer needed"));
}

}  // namespace grpo
