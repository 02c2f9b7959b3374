// The seam between absl::Status and grpc::Status; the codes are numerically the same.
#ifndef GRPO_COMMON_RPC_STATUS_H_
#define GRPO_COMMON_RPC_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "common/utf8.h"
#include "grpcpp/support/status.h"

namespace grpo::rpc {

// Of a status's message. It travels in the metadata, which holds 8 KiB, and up to three bytes for each of these.
inline constexpr size_t kMaxStatusBytes = 2048;

// Code and message, which is cut to kMaxStatusBytes, or the caller would be told of its length and of nothing else;
// payloads of an absl::Status do not cross. Pure.
inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), AsUtf8(status.message(), kMaxStatusBytes));
}

// A code that gRPC itself gave (Unavailable for no connection, DeadlineExceeded, Cancelled) comes through like one that
// a handler returned. But for a message beyond settings.h's cap, which is InvalidArgument: gRPC says
// RESOURCE_EXHAUSTED, as a server does whose queue is full, and trying that again helps, while the message will not
// become smaller.
inline absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
      absl::StrContains(status.error_message(), "message larger than max")) {
    return absl::InvalidArgumentError(status.error_message());
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// Whether this is an answer that asking again does not change: another run or configuration, another wire contract, a
// wrong token or certificate.
inline bool IsRefusal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status) || absl::IsUnauthenticated(status) ||
         absl::IsPermissionDenied(status) || absl::IsUnimplemented(status);
}

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_STATUS_H_
