// Verbs that ask the trainer for another state: pause, resume, stop.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_CONTROL_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_CONTROL_H_

#include <iostream>

#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/verb.h"
#include "trainer/status/run_state.h"

namespace grpo {

// Makes the call and prints the state that the run is in after it. Returns the exit code.
template <typename Request>
int Control(const ConnectionFlags& flags,
            grpc::Status (v1::TrainerService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                             v1::ControlResponse*),
            const Request& request) {
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (!connection.ok()) return Fail(connection.status());
  const absl::StatusOr<v1::ControlResponse> response = connection->Call(method, request);
  if (!response.ok()) return Fail(response.status());
  std::cout << StateName(response->state()) << std::endl;
  return kExitOk;
}

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_CONTROL_H_
