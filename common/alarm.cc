#include "common/alarm.h"

#include <map>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace grpo {
namespace {

// The alarms and their thread. Thread-safe.
class AlarmClock {
 public:
  using Key = std::pair<absl::Duration, uint64_t>;

  // Lives for ever, as the thread does.
  static AlarmClock& Get() {
    static auto* const clock = new AlarmClock;
    return *clock;
  }

  Key Set(absl::Duration time, std::function<void()> ring) {
    MutexLock lock(&mutex_);
    const Key key = {time, num_alarms_++};
    alarms_.emplace(key, std::move(ring));
    return key;
  }

  void Remove(const Key& key) {
    MutexLock lock(&mutex_);
    alarms_.erase(key);
    mutex_.Await([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ringing_ != key; });
  }

 private:
  AlarmClock() {
    std::thread([this] { Loop(); }).detach();
  }

  [[noreturn]] void Loop() {
    while (true) TakeDue()();
  }

  // Waits for the next alarm; the one before has been called.
  std::function<void()> TakeDue() {
    MutexLock lock(&mutex_);
    ringing_.reset();
    while (true) {
      const absl::Duration next = Next();
      if (const absl::Duration now = Clock::Real().Now(); next > now) {
        // Most alarms are gone before they are due: their time is slept through, and only a sooner one ends the sleep.
        mutex_.AwaitFor([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Next() < next; }, next - now);
        continue;
      }
      const auto first = alarms_.begin();
      ringing_ = first->first;
      std::function<void()> ring = std::move(first->second);
      alarms_.erase(first);
      return ring;
    }
  }

  absl::Duration Next() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return alarms_.empty() ? absl::InfiniteDuration() : alarms_.begin()->first.first;
  }

  Mutex mutex_;
  std::map<Key, std::function<void()>> alarms_ ABSL_GUARDED_BY(mutex_);
  uint64_t num_alarms_ ABSL_GUARDED_BY(mutex_) = 0;
  // The one that is being called.
  std::optional<Key> ringing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Alarm::Alarm(absl::Duration after, std::function<void()> ring)
    : key_(AlarmClock::Get().Set(Clock::Real().Now() + after, std::move(ring))) {}

Alarm::~Alarm() {
  AlarmClock::Get().Remove(key_);
}

}  // namespace grpo
