// Threads that score, such that work which takes long never stands in the way of work that does not.
//
// `threads` pieces of work run at one time. One that runs longer than kPatience gives its place to a fresh thread and
// goes on beside it, at the lowest priority once it has used so much of a processor; at most kMaxSlow go on in this
// way, then places are kept. So a completion that takes the rules' whole budget, or a rule that waits for a program,
// costs its neighbours a few milliseconds.
#ifndef GRPO_REWARD_SCORING_POOL_H_
#define GRPO_REWARD_SCORING_POOL_H_

#include <time.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace grpo {

// Thread-safe.
class ScoringPool {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  // Of wall time before a piece of work gives its place away, and of processor time before it runs at the lowest
  // priority.
  static constexpr std::chrono::milliseconds kPatience{2};
  // Pieces of work that may run beside the `threads`.
  static constexpr int kMaxSlow = 64;

  // At least 1.
  explicit ScoringPool(int64_t threads);
  // Finishes everything that was added. So it waits for work that never returns. Timers that are not due are dropped.
  ~ScoringPool();

  // Runs `work` on a thread, first come, first served. If it has not returned `limit` after it began, `on_late` is
  // called once, from another thread, while it goes on. Neither throws. Never blocks, and the queue has no bound:
  // num_waiting tells. What the three own goes without a lock.
  void Add(std::function<void()> work, Clock::duration limit, std::function<void()> on_late);

  using Timer = std::pair<Time, uint64_t>;
  // Calls `call` at a time, unless Cancel comes first; it must be short. From a thread of the pool's own that all
  // timers and late calls share.
  Timer CallAt(Time time, std::function<void()> call);
  // Nothing happens for a timer that was called or cancelled before; one that is being called goes on.
  void Cancel(const Timer& timer);

  // Work that took long calls this before it takes a lock that others wait for. Linux allows it to root, and to others
  // where RLIMIT_NICE does; where it does not, the lock is held at the lowest priority. Of the calling thread.
  static void RestorePriority();

  // Pieces of work that no thread has taken yet.
  int64_t num_waiting() const;
  // Those that run beside the `threads`. At most kMaxSlow.
  int64_t num_slow() const;

 private:
  struct Work {
    std::function<void()> work;
    Clock::duration limit;
    std::function<void()> on_late;
  };
  struct Running {
    Time began, late_at;
    // What its thread had used of a processor when it began, by `clock`, and the thread's number for the scheduler.
    std::chrono::nanoseconds processor_began;
    int thread_id;
    clockid_t clock;
    std::function<void()> on_late;
    // Its place was given away; its priority was lowered.
    bool slow = false, demoted = false;
  };

  // Detached: num_threads_ says when all have ended.
  void StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of each thread: takes work until the pool closes, or its place was given away.
  void Loop();
  // Of the watcher: looks every millisecond while something runs.
  void Watch();
  // Gives places of slow work away, and collects what is due.
  std::vector<std::function<void()>> Due(Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Work> waiting_ ABSL_GUARDED_BY(mutex_);
  // Of all threads, the slow ones included; a list, since each thread keeps the place of its own.
  std::list<Running> running_ ABSL_GUARDED_BY(mutex_);
  // By time; num_timers_ tells those of one time apart.
  std::map<Timer, std::function<void()>> timers_ ABSL_GUARDED_BY(mutex_);
  uint64_t num_timers_ ABSL_GUARDED_BY(mutex_) = 0;
  // Threads that have not ended; those whose place was given away among them.
  int64_t num_threads_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_slow_ ABSL_GUARDED_BY(mutex_) = 0;
  // Wakes one thread, and the watch.
  CondVar has_work_, watch_;
  std::thread watcher_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_SCORING_POOL_H_
