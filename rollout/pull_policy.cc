#include "rollout/pull_policy.h"

#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/manifest.h"
#include "model/weights/weight_set.h"

namespace grpo {
namespace {

// Of one stream; a transfer that takes longer goes on in the next.
constexpr absl::Duration kStreamDeadline = absl::Minutes(2);

// What has come so far.
struct Received {
  v1::WeightsManifest manifest;
  // Of manifest.payload_bytes(), the first `size` filled. Not zeroed: the kernel gives its pages as they are written to.
  std::unique_ptr<char[]> payload;
  int64_t size = 0;
  // This machine has not the memory for it.
  bool too_large = false;
};

absl::Status TakeManifest(v1::WeightsManifest& manifest, const v1::PolicyRef& policy, Received& received) {
  if (manifest.policy().policy_id() != policy.policy_id() || manifest.policy().number() != policy.number()) {
    return absl::DataLossError(
        absl::StrCat("the manifest is of ", manifest.policy().policy_id(), " version ", manifest.policy().number()));
  }
  RETURN_IF_ERROR(CheckManifest(manifest));
  const bool resumed = received.size > 0;
  if (resumed && manifest.digest() != received.manifest.digest()) {
    return absl::DataLossError("the version's content changed between two streams");
  }
  received.manifest = std::move(manifest);
  if (resumed) return absl::OkStatus();
  const int64_t num_bytes = received.manifest.payload_bytes();
  received.payload.reset(new (std::nothrow) char[static_cast<size_t>(num_bytes)]);
  received.too_large = received.payload == nullptr;
  if (!received.too_large) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("there is no memory for the ", num_bytes, " bytes of the weights"));
}

// Takes one message of the stream.
absl::Status Take(v1::PullWeightsResponse& response, const v1::PolicyRef& policy, Received& received) {
  if (response.has_manifest()) return TakeManifest(*response.mutable_manifest(), policy, received);
  const v1::WeightsChunk& chunk = response.chunk();
  const int64_t size = chunk.data().size();
  if (chunk.offset_bytes() != received.size || size > received.manifest.payload_bytes() - received.size) {
    return absl::DataLossError(absl::StrCat("a chunk of ", size, " bytes at ", chunk.offset_bytes(), " where byte ",
                                            received.size, " of ", received.manifest.payload_bytes(), " was next"));
  }
  chunk.data().copy(received.payload.get() + received.size, chunk.data().size());
  received.size += size;
  return absl::OkStatus();
}

// One stream, from the byte that `received` has reached.
absl::Status PullOnce(const rpc::Client& client, v1::Coordinator::Stub& stub, const v1::PolicyRef& policy,
                      Session& session, Received& received) {
  v1::PullWeightsRequest request;
  *request.mutable_policy() = policy;
  request.set_offset_bytes(received.size);
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
  if (received.payload == nullptr || received.size != received.manifest.payload_bytes()) {
    return absl::UnavailableError(
        absl::StrCat("the stream ended at byte ", received.size, " of ", received.manifest.payload_bytes()));
  }
  return absl::OkStatus();
}

// The policy that was received whole; each byte is verified as it is loaded. `previous` may be null.
absl::StatusOr<HeldPolicy> Load(Received& received, const HeldPolicy* previous) {
  const absl::string_view payload(received.payload.get(), static_cast<size_t>(received.size));
  Placement placement = PlacementOf(received.manifest);
  placement.storage = placement.compute;
  HeldPolicy held;
  ASSIGN_OR_RETURN(held.model, MakeModel(received.manifest, payload, placement));
  if (previous != nullptr && previous->manifest.tokenizer().sha256() == received.manifest.tokenizer().sha256()) {
    held.tokenizer = previous->tokenizer;
  } else {
    ASSIGN_OR_RETURN(held.tokenizer, Tokenizer::FromJson(TokenizerJson(received.manifest, payload)));
  }
  held.manifest = std::move(received.manifest);
  return held;
}

// Asking again would be answered the same.
bool IsFinal(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnimplemented(status);
}

}  // namespace

absl::StatusOr<HeldPolicy> PullPolicy(const rpc::Client& client, const v1::PolicyRef& policy, int64_t lease_id,
                                      Session& session, const HeldPolicy* previous) {
  const std::string name = absl::StrCat("version ", policy.number(), " of policy ", policy.policy_id());
  const auto stub = v1::Coordinator::NewStub(client.channel());
  rpc::Backoff backoff;
  Received received;
  while (!session.ended() && session.IsActive(lease_id)) {
    const int64_t before = received.size;
    absl::Status status = PullOnce(client, *stub, policy, session, received);
    if (status.ok()) {
      absl::StatusOr<HeldPolicy> held = Load(received, previous);
      if (!absl::IsDataLoss(held.status())) {
        session.ClearBlocked(lease_id);
        return held;
      }
      status = held.status();
    }
    if (IsFinal(status) || received.too_large) return Annotate(status, name);
    if (absl::IsDataLoss(status)) received = {};
    if (received.size > before) backoff.Reset();
    const std::string reason = absl::StrCat("pulling ", name, " from ", client.address(), ": ", status.message());
    if (!session.ended()) spdlog::warn("{}; trying again from byte {}", reason, received.size);
    session.SetBlocked(lease_id, reason);
    session.WaitForEnd(backoff.Next());
  }
  return absl::CancelledError(absl::StrCat(name, " is no longer needed"));
}

}  // namespace grpo
