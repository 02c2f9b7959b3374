// The one way in which this project opens a gRPC port, and the frame around every handler.
#ifndef GRPO_COMMON_RPC_SERVER_H_
#define GRPO_COMMON_RPC_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/check_message.h"
#include "common/rpc/options.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "google/protobuf/message.h"
#include "grpcpp/grpcpp.h"

namespace grpo::rpc {

// A started server with the standard health service. Thread-safe.
class Server {
 public:
  // AlreadyExists when the port is taken, InvalidArgument for options that do not fit together, files that cannot be
  // read (MakeServerCredentials's errors), or a token other than that of a live server of this process. There is at
  // least one service, and they outlive the server. With tls_ca each call of each method is asked for its caller's role
  // before (tls.h).
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       const std::vector<grpc::Service*>& services);
  // Health says NOT_SERVING, calls in flight get until the deadline. Idempotent. Blocks until the calls have ended or
  // the grace is over; what still runs is cancelled then, which a handler sees by its context.
  void Shutdown(absl::Duration grace = absl::Seconds(2));
  // Shutdown with its usual grace, then waits for the handlers that still run: a handler that never returns keeps it
  // waiting.
  ~Server();

  // "127.0.0.1:41327", with the port that was bound.
  const std::string& address() const { return address_; }

 private:
  Server() = default;
  std::unique_ptr<grpc::Server> server_;
  // HOST:PORT with the port that was taken.
  std::string address_;
};

// OK when the caller may call: no token is configured for this server, or it sent the right one (constant-time
// compare). Called by Handle; the configuration is per process, set by Server::Start. Unauthenticated otherwise; the
// message says whether the token is missing or wrong and never holds it. Refused callers are counted (refusals.h).
// Thread-safe.
absl::Status CheckToken(const grpc::ServerContextBase& context);

// What is left of a call's time: below zero once it is over, infinite where the caller set no deadline. Not changed by
// a wall clock that is set. Thread-safe.
absl::Duration TimeLeft(const grpc::ServerContextBase& context);

// Runs a handler's body: token first, absl::Status to grpc::Status, and the last net for exceptions (gRPC would drop
// them). `body` takes nothing and returns an absl::Status. A caller that may not call gets Unauthenticated and the body
// does not run; what is thrown becomes Internal with its text. For methods whose requests come as a stream: each of
// those is for the body to check by CheckMessage.
template <typename Body>
grpc::Status Handle(grpc::ServerContext* context, Body&& body) {
  try {
    const absl::Status allowed = CheckToken(*context);
    if (!allowed.ok()) return ToGrpc(allowed);
    return ToGrpc(body());
  } catch (...) {
    return ToGrpc(absl::InternalError(WhatWasThrown()));
  }
}

// The same for a method with one request, after CheckMessage of it: its errors, and then the body does not run.
template <typename Body>
grpc::Status Handle(grpc::ServerContext* context, const google::protobuf::Message& request, Body&& body) {
  return Handle(context, [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckMessage(request));
    return body();
  });
}

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_SERVER_H_
