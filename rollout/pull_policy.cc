#include "rollout/pull_policy.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "model/weights/manifest.h"
#include "model/weights/weight_set.h"

namespace grpo {
namespace {

// Of one stream; a transfer that takes longer goes on in the next.
constexpr absl::Duration kStreamDeadline = absl::Minutes(2);

// Asking again would be answered the same.
bool IsFinal(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnimplemented(status);
}

}  // namespace

PolicyPuller::PolicyPuller(std::shared_ptr<rpc::Client> client, Session* session, PolicyLoader* loader)
    : client_(std::move(client)),
      stub_(v1::Coordinator::NewStub(client_->channel())),
      session_(*session),
      loader_(*loader) {}

bool PolicyPuller::Reserve(int64_t num_bytes) {
  if (num_bytes <= capacity_) return true;
  payload_.reset();
  capacity_ = 0;
  payload_.reset(new (std::nothrow) char[static_cast<size_t>(num_bytes)]);
  if (payload_ == nullptr) return false;
  capacity_ = num_bytes;
  return true;
}

absl::Status PolicyPuller::TakeManifest(v1::WeightsManifest& manifest, const v1::PolicyRef& policy) {
  if (manifest.policy().policy_id() != policy.policy_id() || manifest.policy().number() != policy.number()) {
    return absl::DataLossError(
        absl::StrCat("the manifest is of ", manifest.policy().policy_id(), " version ", manifest.policy().number()));
  }
  RETURN_IF_ERROR(CheckManifest(manifest));
  const bool resumed = received_.size > 0;
  if (resumed && manifest.digest() != received_.manifest.digest()) {
    return absl::DataLossError("the version's content changed between two streams");
  }
  received_.manifest = std::move(manifest);
  if (resumed) return absl::OkStatus();
  const int64_t num_bytes = received_.manifest.payload_bytes();
  received_.too_large = !Reserve(num_bytes);
  if (received_.too_large)
    return absl::InternalError(absl::StrCat("there is no memory for the ", num_bytes, " bytes of the weights"));
  received_.size = 0;
  return absl::OkStatus();
}

absl::Status PolicyPuller::Take(v1::PullWeightsResponse& response, const v1::PolicyRef& policy) {
  if (response.has_manifest()) return TakeManifest(*response.mutable_manifest(), policy);
  const v1::WeightsChunk& chunk = response.chunk();
  const int64_t size = chunk.data().size(), end = received_.manifest.payload_bytes();
  if (received_.size < 0 || chunk.offset_bytes() != received_.size || size > end - received_.size) {
    return absl::DataLossError(absl::StrCat("a chunk of ", size, " bytes at ", chunk.offset_bytes(), " where byte ",
                                            received_.size, " of ", end, " was next"));
  }
  chunk.data().copy(payload_.get() + received_.size, chunk.data().size());
  received_.size += size;
  return absl::OkStatus();
}

absl::Status PolicyPuller::PullOnce(const v1::PolicyRef& policy) {
  v1::PullWeightsRequest request;
  *request.mutable_policy() = policy;
  request.set_offset_bytes(std::max<int64_t>(received_.size, 0));
  rpc::CallContext context(*client_, kStreamDeadline);
  const InFlightCalls::Scope scope(&session_.calls(), &context);
  const auto stream = stub_->PullWeights(&context, request);
  v1::PullWeightsResponse response;
  absl::Status taken;
  while (taken.ok() && stream->Read(&response)) taken = Take(response, policy);
  if (!taken.ok()) context.TryCancel();
  const absl::Status finished = rpc::FromGrpc(context.Ended(stream->Finish()));
  RETURN_IF_ERROR(taken);
  RETURN_IF_ERROR(finished);
  if (received_.size == received_.manifest.payload_bytes()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the stream ended at byte ", received_.size, " of ", received_.manifest.payload_bytes()));
}

absl::StatusOr<HeldPolicy> PolicyPuller::Pull(const v1::PolicyRef& policy, int64_t lease_id,
                                              const HeldPolicy* previous) {
  const std::string name = absl::StrCat("version ", policy.number(), " of policy ", policy.policy_id());
  rpc::Backoff backoff;
  received_ = {};
  while (!session_.ended() && session_.IsActive(lease_id)) {
    const int64_t before = received_.size;
    absl::Status status = PullOnce(policy);
    if (status.ok()) {
      const absl::string_view payload(payload_.get(), static_cast<size_t>(received_.size));
      absl::StatusOr<HeldPolicy> held = loader_.Load(PayloadWeights(received_.manifest, {payload}), previous);
      if (!absl::IsDataLoss(held.status())) {
        session_.ClearBlocked(lease_id);
        return held;
      }
      status = held.status();
    }
    if (IsFinal(status) || received_.too_large) return Annotate(status, name);
    if (absl::IsDataLoss(status)) received_ = {};
    if (received_.size > before) backoff.Reset();
    const std::string reason = absl::StrCat("pulling ", name, " from ", client_->address(), ": ", status.message());
    if (!session_.ended()) spdlog::warn("{}; trying again from byte {}", reason, std::max<int64_t>(received_.size, 0));
    session_.SetBlocked(lease_id, reason);
    session_.WaitForEnd(backoff.Next());
  }
  return absl::CancelledError(absl::StrCat(name, " is no longer needed"));
}

}  // namespace grpo
