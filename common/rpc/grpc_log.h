// gRPC's own log lines.
#ifndef GRPO_COMMON_RPC_GRPC_LOG_H_
#define GRPO_COMMON_RPC_GRPC_LOG_H_

namespace grpo::rpc {

// Sends them to spdlog at level debug: what matters of them comes back as a status, in words that say what to do.
// Idempotent. Server::Start and Client::Create call it. Thread-safe.
void RouteGrpcLog();

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_GRPC_LOG_H_
