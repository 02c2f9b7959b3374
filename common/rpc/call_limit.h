// How many calls of one method may be under way, and how long a caller may keep one of them waiting.
#ifndef GRPO_COMMON_RPC_CALL_LIMIT_H_
#define GRPO_COMMON_RPC_CALL_LIMIT_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/alarm.h"
#include "common/mutex.h"
#include "grpcpp/grpcpp.h"

namespace grpo::rpc {

// A call of gRPC's synchronous API holds one of the server's threads until it ends (server.cc has the number). So each
// method whose calls last, because they stream or wait for something, has a share of the threads, and whoever reads
// slowly, sends nothing or calls too often takes no more than that from the others. Thread-safe.
class CallLimit {
 public:
  struct Options {
    // For messages: "WatchStatus".
    std::string method;
    // Under way at a time.
    size_t max_calls = 1;
    // A caller that takes longer over one message is cancelled: 1 MiB in a minute is 17 KiB/s.
    absl::Duration patience = absl::Minutes(1);
  };
  explicit CallLimit(Options options) : options_(std::move(options)) {}

  // One call, from Begin until it is destroyed. Used by its handler's thread.
  class Call {
   public:
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // `wire` is one Read or Write of the call's stream, and what it returns is returned. The call is cancelled, and
    // `wire` fails, when that takes longer than `patience`.
    template <typename Wire>
    bool OnWire(Wire&& wire) {
      const Alarm too_slow(limit_.options_.patience, [this] { context_.TryCancel(); });
      return wire();
    }

   private:
    friend class CallLimit;
    Call(CallLimit* limit, grpc::ServerContext* context) : limit_(*limit), context_(*context) {}

    CallLimit& limit_;
    grpc::ServerContext& context_;
  };

  // ResourceExhausted while max_calls are under way. The limit and `context` outlive the call.
  absl::StatusOr<std::unique_ptr<Call>> Begin(grpc::ServerContext* context);

 private:
  const Options options_;
  Mutex mutex_;
  size_t num_calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CALL_LIMIT_H_
