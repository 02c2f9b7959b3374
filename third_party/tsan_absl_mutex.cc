// absl::Mutex and absl::CondVar over pthread locks, for `bazel test --config=tsan` only. Debian's Abseil is built
// without the thread sanitizer, which therefore sees none of its locking and would call every guarded access a race.
// These definitions come before the library's; the sanitizer understands what they call. Waits look again every now and
// then instead of being woken: slow, and exact about what happens before what.
#include <time.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace absl {
ABSL_NAMESPACE_BEGIN
namespace {

struct Lockable {
  std::shared_mutex mutex;
  // Whether the holder holds it alone; written only by such a holder.
  bool exclusive = false;
};

// Lives behind the one word that a Mutex has; made by the first use.
Lockable& Of(const Mutex* mutex) {
  static_assert(sizeof(Mutex) == sizeof(std::atomic<Lockable*>));
  auto& word = *reinterpret_cast<std::atomic<Lockable*>*>(const_cast<Mutex*>(mutex));
  Lockable* known = word.load(std::memory_order_acquire);
  if (known != nullptr) return *known;
  auto* made = new Lockable;
  if (word.compare_exchange_strong(known, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *known;
}

void Pause() {
  const timespec moment = {.tv_sec = 0, .tv_nsec = 200'000};
  nanosleep(&moment, nullptr);
}

void Acquire(Mutex* mutex, bool exclusive) {
  exclusive ? mutex->Lock() : mutex->ReaderLock();
}

void Release(Mutex* mutex, bool exclusive) {
  exclusive ? mutex->Unlock() : mutex->ReaderUnlock();
}

// The lock is held before and after.
bool WaitUntil(Mutex* mutex, const Condition& condition, Time deadline) {
  const bool exclusive = Of(mutex).exclusive;
  while (!condition.Eval()) {
    if (Now() >= deadline) return false;
    Release(mutex, exclusive);
    Pause();
    Acquire(mutex, exclusive);
  }
  return true;
}

}  // namespace

Mutex::~Mutex() {
  delete &Of(this);
  ABSL_TSAN_MUTEX_DESTROY(this, __tsan_mutex_not_static);
}

void Mutex::Lock() {
  Of(this).mutex.lock();
  Of(this).exclusive = true;
}
void Mutex::Unlock() {
  Of(this).exclusive = false;
  Of(this).mutex.unlock();
}
bool Mutex::TryLock() {
  if (!Of(this).mutex.try_lock()) return false;
  Of(this).exclusive = true;
  return true;
}
void Mutex::ReaderLock() {
  Of(this).mutex.lock_shared();
}
void Mutex::ReaderUnlock() {
  Of(this).mutex.unlock_shared();
}
bool Mutex::ReaderTryLock() {
  return Of(this).mutex.try_lock_shared();
}
void Mutex::AssertHeld() const {}
void Mutex::AssertReaderHeld() const {}
void Mutex::AssertNotHeld() const {}
void Mutex::ForgetDeadlockInfo() {}
void Mutex::EnableDebugLog(const char*) {}
void Mutex::EnableInvariantDebugging(void (*)(void*), void*) {}

void Mutex::Await(const Condition& condition) {
  WaitUntil(this, condition, InfiniteFuture());
}
bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  return WaitUntil(this, condition, Now() + timeout);
}
bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  return WaitUntil(this, condition, deadline);
}
void Mutex::LockWhen(const Condition& condition) {
  Lock();
  Await(condition);
}
void Mutex::ReaderLockWhen(const Condition& condition) {
  ReaderLock();
  Await(condition);
}
bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  Lock();
  return AwaitWithTimeout(condition, timeout);
}
bool Mutex::ReaderLockWhenWithTimeout(const Condition& condition, Duration timeout) {
  ReaderLock();
  return AwaitWithTimeout(condition, timeout);
}
bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  Lock();
  return AwaitWithDeadline(condition, deadline);
}
bool Mutex::ReaderLockWhenWithDeadline(const Condition& condition, Time deadline) {
  ReaderLock();
  return AwaitWithDeadline(condition, deadline);
}

// Whoever waits may wake for no reason, so it does.
void CondVar::Wait(Mutex* mutex) {
  const bool exclusive = Of(mutex).exclusive;
  Release(mutex, exclusive);
  Pause();
  Acquire(mutex, exclusive);
}
bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  // The caller measures what is left by itself; a single pause is shorter than any timeout that matters.
  Wait(mutex);
  return timeout <= ZeroDuration();
}
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  Wait(mutex);
  return Now() >= deadline;
}
void CondVar::Signal() {}
void CondVar::SignalAll() {}
void CondVar::EnableDebugLog(const char*) {}

ABSL_NAMESPACE_END
}  // namespace absl
