// A mutex whose waits end when they should whatever is done to the wall clock. Abseil's timed waits are for an absolute
// time of the wall clock: where that is set back while one lasts, it lasts so much longer. tools/lint refuses them.
#ifndef GRPO_COMMON_MUTEX_H_
#define GRPO_COMMON_MUTEX_H_

#include <condition_variable>
#include <list>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace grpo {

// absl::Mutex without readers: nobody who changes what a condition is about needs to signal that. Conditions are called
// with the lock held, by whichever thread lets go of it; they do not block and lock nothing. Of those that wait for
// conditions that hold the one that has waited longest is woken, and the next when that one lets go.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    WakeNext();
    mutex_.unlock();
  }

  // Waits, without the lock, until the condition holds.
  void Await(absl::FunctionRef<bool()> condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this);
  // The same for `timeout` at most, by the monotonic clock; whether the condition holds. Looks once if that is not
  // above zero; a year and more is for ever.
  bool AwaitFor(absl::FunctionRef<bool()> condition, absl::Duration timeout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this);

 private:
  friend class CondVar;
  struct Waiter;

  // Before the lock is let go of: wakes the first waiter that may go on.
  void WakeNext();

  std::mutex mutex_;
  // In the order in which they came; guarded by mutex_.
  std::list<Waiter*> waiters_;
};

// Holds the mutex for as long as it lives.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) { mutex->Lock(); }
  // Waits for the condition first.
  MutexLock(Mutex* mutex, absl::FunctionRef<bool()> condition) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex->Lock();
    mutex->Await(condition);
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// For waits whose end others signal, where a condition would be looked at too often or says too little. Thread-safe.
class CondVar {
 public:
  // Waits, without the lock, for a signal; may return without one.
  void Wait(Mutex* mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { WaitFor(mutex, absl::InfiniteDuration()); }
  // The same for `timeout` at most, by the monotonic clock.
  void WaitFor(Mutex* mutex, absl::Duration timeout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Wakes one that waits, or all.
  void Signal() { signal_.notify_one(); }
  void SignalAll() { signal_.notify_all(); }

 private:
  std::condition_variable signal_;
};

// Happens once. Thread-safe.
class Notification {
 public:
  void Notify() {
    MutexLock lock(&mutex_);
    notified_ = true;
  }
  // Waits for `timeout` at most, by the monotonic clock; true once Notify was called.
  bool WaitFor(absl::Duration timeout) {
    MutexLock lock(&mutex_);
    return mutex_.AwaitFor([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return notified_; }, timeout);
  }

 private:
  Mutex mutex_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace grpo

#endif  // GRPO_COMMON_MUTEX_H_
