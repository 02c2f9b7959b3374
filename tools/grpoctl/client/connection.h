// How client verbs find and call a run's trainer.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_CONNECTION_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/client.h"
#include "proto/trainer.grpc.pb.h"
#include "tools/grpoctl/client/job.h"

namespace grpo {

// Where a run is: --address wins, then --job, then --run-dir, then the newest run under runs/. `client` goes, key by key, before
// what the run's endpoint.json says.
struct ConnectionFlags {
  std::string address;
  std::string run_dir;
  JobFlags job;
  rpc::ClientOptions client;
  // Of one call, in seconds.
  double deadline_s = 10;
};

// Adds --address, --run-dir, --on, --job, --token-file, --tls-ca, --tls-cert, --tls-key and --deadline; `flags` outlives the
// parsing.
void AddConnectionFlags(CLI::App& verb, ConnectionFlags* flags);
// Only --run-dir, for verbs that read files.
void AddRunDirFlag(CLI::App& verb, std::string* run_dir);

// The folder that --run-dir named, or that of the newest run under runs/. NotFound when there is none. A folder that
// was named is not looked at.
absl::StatusOr<std::string> ResolveRunDir(const std::string& run_dir);

// A stub, and the client that prepares its calls. Thread-safe.
struct TrainerConnection {
  std::shared_ptr<rpc::Client> client;
  std::unique_ptr<v1::TrainerService::Stub> stub;
  absl::Duration deadline;
  // Of the run and its trainer, to say what to do about one that does not answer; empty and 0 for --address.
  std::string run_dir;
  int64_t pid = 0;

  // Does not call the trainer yet, but asks the cluster about a --job. FindEndpoint's errors (tools/grpoctl/records/run_folder.h) without an address;
  // rpc::Client::Create's.
  static absl::StatusOr<TrainerConnection> Open(const ConnectionFlags& flags);

  // One unary call with deadline and token: Call(&Stub::Pause, request). Errors say what to do about them.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::TrainerService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                                 Response*),
                                const Request& request) const {
    rpc::CallContext context(*client, deadline);
    Response response;
    const grpc::Status status = context.Ended(((*stub).*method)(&context, request, &response));
    if (!status.ok()) return Explain(status);
    return response;
  }

  // The error of a call, with the address and what to do. `status` is an error. Unavailable for a trainer that does not
  // answer, DeadlineExceeded included; otherwise the same code. What the trainer said is made printable.
  absl::Status Explain(const grpc::Status& status) const;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_CONNECTION_H_
