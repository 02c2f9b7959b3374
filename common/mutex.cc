#include "common/mutex.h"

#include <algorithm>
#include <chrono>

namespace grpo {
namespace {

using std::chrono::steady_clock;

// Above it the sum with the present time might leave its range.
constexpr absl::Duration kForEver = absl::Hours(24 * 365);

steady_clock::time_point DeadlineOf(absl::Duration timeout) {
  if (timeout >= kForEver) return steady_clock::time_point::max();
  return steady_clock::now() + absl::ToChronoNanoseconds(std::max(timeout, absl::ZeroDuration()));
}

// False once the deadline has passed. libstdc++ waits by pthread_cond_clockwait, on the monotonic clock.
bool WaitOnce(std::condition_variable& signal, std::unique_lock<std::mutex>& lock, steady_clock::time_point deadline) {
  if (deadline != steady_clock::time_point::max()) {
    return signal.wait_until(lock, deadline) == std::cv_status::no_timeout;
  }
  signal.wait(lock);
  return true;
}

}  // namespace

struct Mutex::Waiter {
  const absl::FunctionRef<bool()> condition;
  std::condition_variable signal{};
  // It was told to look, or is looking: others need not wake it.
  bool woken = true;
};

void Mutex::WakeNext() {
  for (Waiter* waiter : waiters_) {
    if (waiter->woken || !waiter->condition()) continue;
    waiter->woken = true;
    waiter->signal.notify_one();
    return;
  }
}

void Mutex::Await(absl::FunctionRef<bool()> condition) {
  AwaitFor(condition, absl::InfiniteDuration());
}

bool Mutex::AwaitFor(absl::FunctionRef<bool()> condition, absl::Duration timeout) {
  if (condition()) return true;
  const steady_clock::time_point deadline = DeadlineOf(timeout);
  Waiter waiter{.condition = condition};
  const auto place = waiters_.insert(waiters_.end(), &waiter);
  std::unique_lock<std::mutex> lock(mutex_, std::adopt_lock);
  bool holds = false;
  for (bool in_time = true; in_time && !holds; holds = condition()) {
    // What this thread has changed may be what another waits for; so may be what this one was woken for in its place.
    WakeNext();
    waiter.woken = false;
    while (in_time && !waiter.woken) in_time = WaitOnce(waiter.signal, lock, deadline);
    waiter.woken = true;
  }
  waiters_.erase(place);
  lock.release();
  return holds;
}

void CondVar::WaitFor(Mutex* mutex, absl::Duration timeout) {
  const steady_clock::time_point deadline = DeadlineOf(timeout);
  mutex->WakeNext();
  std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
  WaitOnce(signal_, lock, deadline);
  lock.release();
}

}  // namespace grpo
