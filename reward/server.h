// The reward server's process from its configuration to its end.
//
//   thread                  does
//   ServeRewards' caller    looks every second for a stop, the run's end, a trainer that has moved and a configuration
//                           that has changed
//   gRPC's                  carry the streams, together with the pool's
//   ScoringPool's           run the rules
//   Registration's          tells the coordinator where this server is (only in a run)
//   TextPage's              answers GET /metrics (only with a port for it)
#ifndef GRPO_REWARD_SERVER_H_
#define GRPO_REWARD_SERVER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace grpo {

// What the reward server's command line says.
struct RewardServerArguments {
  // The run's configuration (YAML), of which `rewards`, `reward_server` and `network` are read.
  std::string config;
  // -1: the configuration's.
  int64_t port = -1, metrics_port = -1;
  // Under which others reach this machine; empty: network.advertise_host.
  std::string advertise_host;
  // Where to write the address (common/rpc/endpoint.h); empty for nowhere.
  std::string endpoint_file;
  // Where the run's trainer is, with which to register (common/rpc/coordinator_place.h); empty: this server belongs to
  // no run.
  std::string coordinator;
  // Empty joins the run that is served.
  std::string run_id;
  // Stable over restarts; empty: the address.
  std::string name;
};

// Scores until a stop signal (common/stop_signal.h, to be installed before) or the run's end. Loads the profiles anew
// when the configuration's file has changed, and after RequestReload. FailedPrecondition when the coordinator refuses
// this server, or when reward_server.sandbox is required and this machine lacks part of it; otherwise errors are those
// of a start. Blocks; one call per process. Profiles that do not load anew are logged, and the old ones stay. OK after a
// stop and after the run's end; calls in flight get 4 seconds then. Errors of a start: LoadOptions's,
// RewardServiceImpl::Make's, rpc::Server::Start's, TextPage::Start's.
absl::Status ServeRewards(const RewardServerArguments& arguments);

// For signal handlers; one installed without SA_RESTART also ends the wait for the next look at the file.
// Async-signal-safe.
void RequestReload();

}  // namespace grpo

#endif  // GRPO_REWARD_SERVER_H_
