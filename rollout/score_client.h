// Has a group scored by one of several reward servers.
#ifndef GRPO_ROLLOUT_SCORE_CLIENT_H_
#define GRPO_ROLLOUT_SCORE_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/rpc/client.h"
#include "proto/reward.grpc.pb.h"
#include "rollout/in_flight_calls.h"

namespace grpo {

// Thread-safe.
class ScoreClient {
 public:
  // `calls` must outlive this. `deadline` is of one attempt.
  ScoreClient(rpc::ClientOptions options, absl::Duration deadline, InFlightCalls* calls)
      : options_(std::move(options)), deadline_(deadline), calls_(calls) {}

  // From now on these servers (HOST:PORT) have their turns; calls under way go on. Connects lazily, and keeps the
  // connections to those that were known. InvalidArgument, with the first cause, when one or more of them cannot be
  // used by these client options; the others are used. The same list again costs nothing and returns the same.
  absl::Status UseServers(const std::vector<std::string>& addresses);

  // One attempt, at the server whose turn it is: the score of completion i at position i. All or nothing: an error when
  // the stream broke, or when the server did not answer every completion exactly once with a score that CheckScore
  // takes (reward/score_check.h); never a made-up score. Texts in it are cut (common/rpc/check_message.h). Errors begin
  // with "reward server HOST:PORT"; FailedPrecondition without a server. Of the completions text and ids are sent.
  // Blocks for the deadline at most; a failed attempt is never repeated here. Unavailable, DeadlineExceeded and
  // Cancelled come from the transport, Internal says that the server answered wrongly, anything else is the server's
  // own.
  absl::StatusOr<std::vector<v1::Score>> Score(const v1::RewardProfileRef& profile, const v1::Prompt& prompt,
                                               const std::vector<v1::Completion>& completions);

  // How many servers there are: after as many failed attempts each had its turn.
  int64_t num_servers() const;

 private:
  // A server that was told of, with its connection; kept alive by the calls that use it.
  struct Server {
    std::shared_ptr<rpc::Client> client;
    std::unique_ptr<v1::RewardService::Stub> stub;
  };

  // Null when there is none.
  std::shared_ptr<const Server> NextServer();

  const rpc::ClientOptions options_;
  const absl::Duration deadline_;
  InFlightCalls* const calls_;
  mutable absl::Mutex mutex_;
  // What UseServers was told last.
  std::vector<std::string> addresses_ ABSL_GUARDED_BY(mutex_);
  // Those of addresses_ that can be used, in that order; and what UseServers returned.
  std::vector<std::shared_ptr<const Server>> servers_ ABSL_GUARDED_BY(mutex_);
  absl::Status unusable_ ABSL_GUARDED_BY(mutex_);
  // Attempts so far: turn_ modulo the number of servers is next.
  uint64_t turn_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SCORE_CLIENT_H_
