// The gRPC calls that are under way, so that a worker that ends need not wait for their deadlines.
#ifndef GRPO_ROLLOUT_IN_FLIGHT_CALLS_H_
#define GRPO_ROLLOUT_IN_FLIGHT_CALLS_H_

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/client_context.h"

namespace grpo {

// Thread-safe. It outlives its scopes.
class InFlightCalls {
 public:
  // Registers a call for the scope's lifetime. The context must outlive the scope. Made before the call starts, gone
  // after it has ended.
  class Scope {
   public:
    Scope(InFlightCalls* calls, grpc::ClientContext* context) : calls_(calls), context_(context) {
      absl::MutexLock lock(&calls_->mutex_);
      if (calls_->cancelled_) context_->TryCancel();
      calls_->contexts_.insert(context_);
    }
    ~Scope() {
      absl::MutexLock lock(&calls_->mutex_);
      calls_->contexts_.erase(context_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    InFlightCalls* const calls_;
    grpc::ClientContext* const context_;
  };

  // Ends every call that is under way with CANCELLED, and every later one as it starts.
  void CancelAll() {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
  }

 private:
  absl::Mutex mutex_;
  // CancelAll was called: for good.
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the scopes that live now.
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_IN_FLIGHT_CALLS_H_
