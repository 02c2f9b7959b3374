// Has a group scored by one of several reward servers.
#ifndef GRPO_ROLLOUT_SCORE_CLIENT_H_
#define GRPO_ROLLOUT_SCORE_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/client.h"
#include "proto/reward.grpc.pb.h"
#include "rollout/in_flight_calls.h"

namespace grpo {

// Thread-safe.
class ScoreClient {
 public:
  // Connects lazily. InvalidArgument without an address or for client options that cannot be used. `calls` must outlive
  // this.
  static absl::StatusOr<std::unique_ptr<ScoreClient>> Create(const std::vector<std::string>& addresses,
                                                             const rpc::ClientOptions& options, absl::Duration deadline,
                                                             InFlightCalls* calls);

  // One attempt, at the server whose turn it is: the score of completion i at position i. All or nothing: an error when
  // the stream broke, or when the server did not answer every completion exactly once with a finite value and an
  // outcome; never a made-up score. Errors begin with "reward server HOST:PORT".
  absl::StatusOr<std::vector<v1::Score>> Score(const v1::RewardProfileRef& profile, const v1::Prompt& prompt,
                                               const std::vector<v1::Completion>& completions);

  // How many servers there are: after as many failed attempts each had its turn.
  int64_t num_servers() const { return servers_.size(); }

 private:
  struct Server {
    std::shared_ptr<rpc::Client> client;
    std::unique_ptr<v1::RewardService::Stub> stub;
  };

  ScoreClient(std::vector<Server> servers, absl::Duration deadline, InFlightCalls* calls)
      : servers_(std::move(servers)), deadline_(deadline), calls_(calls) {}

  const std::vector<Server> servers_;
  const absl::Duration deadline_;
  InFlightCalls* const calls_;
  std::atomic<uint64_t> turn_{0};
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SCORE_CLIENT_H_
