#include "common/rpc/grpc_log.h"

#include "grpc/support/log.h"
#include "spdlog/spdlog.h"

namespace grpo::rpc {

void RouteGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* line) { spdlog::debug("gRPC: {}", line->message); });
}

}  // namespace grpo::rpc
