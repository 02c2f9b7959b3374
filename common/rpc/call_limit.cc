#include "common/rpc/call_limit.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace grpo::rpc {

CallLimit::CallLimit(Options options)
    : options_(std::move(options)), wake_(::eventfd(0, EFD_CLOEXEC)), thread_([this] { Watch(); }) {}

CallLimit::~CallLimit() {
  ending_ = true;
  ::eventfd_write(wake_, 1);
  thread_.join();
  if (wake_ >= 0) ::close(wake_);
}

absl::StatusOr<std::unique_ptr<CallLimit::Call>> CallLimit::Begin(grpc::ServerContext* context) {
  const absl::MutexLock lock(&mutex_);
  if (calls_.size() >= options_.max_calls) {
    return absl::ResourceExhaustedError(absl::StrCat(options_.method, ": ", calls_.size(),
                                                     " calls are under way, more are not taken, so that other calls "
                                                     "find room: end some, or try again later"));
  }
  std::unique_ptr<Call> call(new Call(this, context));
  calls_.insert(call.get());
  return call;
}

CallLimit::Call::~Call() {
  const absl::MutexLock lock(&limit_.mutex_);
  limit_.calls_.erase(this);
}

void CallLimit::Call::SetOnWire(bool on_wire) {
  const absl::MutexLock lock(&limit_.mutex_);
  until_ = on_wire ? Clock::Real().Now() + limit_.options_.patience : absl::InfiniteDuration();
}

void CallLimit::Watch() {
  // Poll's waits do not depend on the wall clock.
  const auto interval_ms = std::clamp<int64_t>(absl::ToInt64Milliseconds(options_.patience / 4), 1, 1000);
  pollfd wake = {.fd = wake_, .events = POLLIN};
  while (!ending_) {
    ::poll(&wake, 1, static_cast<int>(interval_ms));
    const absl::Duration now = Clock::Real().Now();
    const absl::MutexLock lock(&mutex_);
    for (Call* const call : calls_) {
      if (call->until_ > now) continue;
      call->until_ = absl::InfiniteDuration();
      call->context_.TryCancel();
    }
  }
}

}  // namespace grpo::rpc
