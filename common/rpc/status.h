// The seam between absl::Status and grpc::Status; the codes are numerically the same.
#ifndef GRPO_COMMON_RPC_STATUS_H_
#define GRPO_COMMON_RPC_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace grpo::rpc {

// Code and message; payloads of an absl::Status do not cross. Pure.
inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// A code that gRPC itself gave (Unavailable for no connection, DeadlineExceeded, Cancelled) comes through like one that
// a handler returned.
inline absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_STATUS_H_
