#include "common/rpc/call_limit.h"

#include "absl/strings/str_cat.h"

namespace grpo::rpc {

absl::StatusOr<std::unique_ptr<CallLimit::Call>> CallLimit::Begin(grpc::ServerContext* context) {
  MutexLock lock(&mutex_);
  if (num_calls_ >= options_.max_calls) {
    return absl::ResourceExhaustedError(absl::StrCat(options_.method, ": ", num_calls_,
                                                     " calls are under way, more are not taken, so that other calls "
                                                     "find room: end some, or try again later"));
  }
  ++num_calls_;
  return std::unique_ptr<Call>(new Call(this, context));
}

CallLimit::Call::~Call() {
  MutexLock lock(&limit_.mutex_);
  --limit_.num_calls_;
}

}  // namespace grpo::rpc
