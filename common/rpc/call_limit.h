// How many calls of one method may be under way, and how long a caller may keep one of them waiting.
#ifndef GRPO_COMMON_RPC_CALL_LIMIT_H_
#define GRPO_COMMON_RPC_CALL_LIMIT_H_

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"

namespace grpo::rpc {

// A call of gRPC's synchronous API holds one of the server's threads until it ends (server.cc has the number). So each
// method whose calls last, because they stream or wait for something, has a share of the threads, and whoever reads
// slowly, sends nothing or calls too often takes no more than that from the others. Has a thread of its own.
// Thread-safe.
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
  explicit CallLimit(Options options);
  // No call is under way.
  ~CallLimit();
  CallLimit(const CallLimit&) = delete;
  CallLimit& operator=(const CallLimit&) = delete;

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
      SetOnWire(true);
      const bool done = wire();
      SetOnWire(false);
      return done;
    }

   private:
    friend class CallLimit;
    Call(CallLimit* limit, grpc::ServerContext* context) : limit_(*limit), context_(*context) {}
    void SetOnWire(bool on_wire);

    CallLimit& limit_;
    grpc::ServerContext& context_;
    // When the caller is cancelled; never while the handler does not wait for it. Guarded by the limit's mutex.
    absl::Duration until_ = absl::InfiniteDuration();
  };

  // ResourceExhausted while max_calls are under way. `context` outlives the call.
  absl::StatusOr<std::unique_ptr<Call>> Begin(grpc::ServerContext* context);

 private:
  // The thread: cancels whoever is too slow, until ending_.
  void Watch();

  const Options options_;
  absl::Mutex mutex_;
  std::set<Call*> calls_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> ending_ = false;
  // Can be read once ending_ is set.
  int wake_ = -1;
  std::thread thread_;
};

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CALL_LIMIT_H_
