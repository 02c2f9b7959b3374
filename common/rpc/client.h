// The one way in which this project opens a gRPC channel and calls over it.
#ifndef GRPO_COMMON_RPC_CLIENT_H_
#define GRPO_COMMON_RPC_CLIENT_H_

#include <atomic>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/alarm.h"
#include "common/mutex.h"
#include "common/rpc/options.h"
#include "grpcpp/grpcpp.h"

namespace grpo::rpc {

// A channel and what every call on it needs (CallContext). Thread-safe.
class Client {
 public:
  // Connects lazily, and again by itself. `address` is HOST:PORT. InvalidArgument for another form, files that cannot
  // be read, options that do not fit together, or a token that would leave this machine without TLS. Opens no
  // connection, so OK says nothing of the server. The token is read here and not again, PEM files are (tls.h). Messages
  // are bounded by settings.h, in both directions.
  static absl::StatusOr<std::shared_ptr<Client>> Create(const std::string& address, const ClientOptions& options = {});

  // For stubs. Its connection is its own and not shared with other clients, so that heartbeats do not queue behind
  // weights.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // As Create was given it.
  const std::string& address() const { return address_; }

 private:
  friend class CallContext;

  // Has a channel connect at once that should have tried long ago: gRPC's timer for that may follow the wall clock.
  void ConnectIfOverdue() const;

  std::string address_;
  // "Bearer TOKEN", as it is sent; empty without a token.
  std::string bearer_;
  // Kept, so that clients of the same files share what reads those (tls.h).
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::shared_ptr<grpc::Channel> channel_;
  mutable Mutex mutex_;
  // Since when calls have found no connection, by Clock::Real(), or since it was told to connect.
  mutable absl::Duration failing_since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
};

// One call over a client's channel, from before it starts until after it has ended: its deadline and the token. gRPC
// ends a call at its deadline by a timer of its own, which waits by the wall clock; where that was set back, an alarm
// by the monotonic clock cancels the call a moment later. A context is of the thread that calls, but for TryCancel.
class CallContext : public grpc::ClientContext {
 public:
  // `deadline` is from now on; every call has one, of a year at most. `client` need not outlive the call.
  CallContext(const Client& client, absl::Duration deadline);

  // What the call ended with, given what gRPC says: DEADLINE_EXCEEDED also where it was the alarm that cancelled it.
  grpc::Status Ended(const grpc::Status& status) const;

 private:
  std::atomic<bool> overdue_ = false;
  // Goes first, since it uses the others.
  const Alarm alarm_;
};

// Delays before retries: 0.1 s, doubled up to 5 s, each scaled by a random factor in [0.5, 1]. One thread. Unseeded on
// purpose: the clients of a server that comes back must not all call at once.
class Backoff {
 public:
  // The delay before the next attempt; the first after construction or Reset is 0.05 to 0.1 s.
  absl::Duration Next();
  // After a success.
  void Reset() { attempt_ = 0; }

 private:
  // Delays given since Reset.
  int attempt_ = 0;
  std::mt19937 random_{std::random_device{}()};
};

// The standard health check of the whole server (empty service name). Unavailable when it cannot be reached or is not
// serving. Blocks for `deadline` at most and does not retry.
absl::Status CheckHealth(const Client& client, absl::Duration deadline);

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CLIENT_H_
