#include "reward/scoring_pool.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/thread.h"

namespace grpo {
namespace {

// How often the watch looks while something runs.
constexpr std::chrono::milliseconds kTick{1};

// What a thread has used of a processor; one that is kept from running has used none.
std::chrono::nanoseconds ProcessorTime(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

void ScoringPool::RestorePriority() {
  const sched_param none = {};
  sched_setscheduler(0, SCHED_OTHER, &none);
}

ScoringPool::ScoringPool(int64_t threads) {
  MutexLock lock(&mutex_);
  for (int64_t i = 0; i < threads; ++i) StartThread();
  watcher_ = grpo::StartThread("the watch of the scoring threads", [this] { Watch(); });
}

ScoringPool::~ScoringPool() {
  {
    MutexLock lock(&mutex_);
    closing_ = true;
    has_work_.SignalAll();
    watch_.Signal();
    mutex_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_threads_ == 0; });
  }
  watcher_.join();
}

void ScoringPool::Add(std::function<void()> work, Clock::duration limit, std::function<void()> on_late) {
  MutexLock lock(&mutex_);
  waiting_.push_back({std::move(work), limit, std::move(on_late)});
  has_work_.Signal();
}

ScoringPool::Timer ScoringPool::CallAt(Time time, std::function<void()> call) {
  MutexLock lock(&mutex_);
  const Timer timer = {time, num_timers_++};
  timers_.emplace(timer, std::move(call));
  if (timers_.begin()->first == timer) watch_.Signal();
  return timer;
}

void ScoringPool::Cancel(const Timer& timer) {
  // Its call may own what needs this pool when it goes.
  std::function<void()> cancelled;
  MutexLock lock(&mutex_);
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return;
  cancelled = std::move(found->second);
  timers_.erase(found);
}

int64_t ScoringPool::num_waiting() const {
  MutexLock lock(&mutex_);
  return static_cast<int64_t>(waiting_.size());
}

int64_t ScoringPool::num_slow() const {
  MutexLock lock(&mutex_);
  return num_slow_;
}

void ScoringPool::StartThread() {
  ++num_threads_;
  // Detached, because they come and go; num_threads_ says when all have ended.
  grpo::StartThread("a scoring thread", [this] { Loop(); }).detach();
}

void ScoringPool::Loop() {
  const int thread_id = gettid();
  clockid_t clock;
  pthread_getcpuclockid(pthread_self(), &clock);
  MutexLock lock(&mutex_);
  while (true) {
    while (waiting_.empty() && !closing_) has_work_.Wait(&mutex_);
    if (waiting_.empty()) break;
    Work work = std::move(waiting_.front());
    waiting_.pop_front();
    const Time now = Clock::now();
    const bool was_idle = running_.empty();
    const auto running = running_.insert(running_.end(), {.began = now,
                                                          .late_at = now + work.limit,
                                                          .processor_began = ProcessorTime(clock),
                                                          .thread_id = thread_id,
                                                          .clock = clock,
                                                          .on_late = std::move(work.on_late)});
    if (was_idle) watch_.Signal();
    mutex_.Unlock();
    // Nothing unwinds from here past the lock, which is not held.
    Guarded("scoring", work.work);
    work = {};
    mutex_.Lock();
    const bool slow = running->slow;
    // What on_late owns goes without the lock, with the next work or here.
    work.on_late = std::move(running->on_late);
    running_.erase(running);
    mutex_.Unlock();
    work = {};
    mutex_.Lock();
    if (slow) {
      // Its place is taken.
      --num_slow_;
      break;
    }
  }
  --num_threads_;
}

void ScoringPool::Watch() {
  MutexLock lock(&mutex_);
  while (!closing_ || num_threads_ > 0) {
    const Time now = Clock::now();
    std::vector<std::function<void()>> due = Due(now);
    if (!due.empty()) {
      mutex_.Unlock();
      for (const auto& call : due) Guarded("a call of the scoring pool's watch", call);
      // What they own may take long to go.
      due.clear();
      mutex_.Lock();
      continue;
    }
    Clock::duration sleep = std::chrono::seconds(1);
    if (!running_.empty() || closing_) sleep = kTick;
    if (!timers_.empty()) sleep = std::clamp(timers_.begin()->first.first - now, Clock::duration::zero(), sleep);
    watch_.WaitFor(&mutex_, absl::FromChrono(sleep));
  }
}

std::vector<std::function<void()>> ScoringPool::Due(Time now) {
  std::vector<std::function<void()>> due;
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    due.push_back(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
  }
  for (Running& running : running_) {
    if (now - running.began <= kPatience) continue;
    if (!running.slow && num_slow_ < kMaxSlow) {
      running.slow = true;
      ++num_slow_;
      StartThread();
    }
    if (running.slow && !running.demoted && ProcessorTime(running.clock) - running.processor_began > kPatience) {
      running.demoted = true;
      // Below every nice value: dozens of them still leave nine tenths of a core to others.
      const sched_param none = {};
      sched_setscheduler(running.thread_id, SCHED_IDLE, &none);
    }
    if (now >= running.late_at && running.on_late != nullptr) {
      due.push_back(std::exchange(running.on_late, nullptr));
    }
  }
  return due;
}

}  // namespace grpo
