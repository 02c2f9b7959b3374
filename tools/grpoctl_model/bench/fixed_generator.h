// What samples in a bench: our Engine on prompts of a fixed length, to completions of a fixed length, with a note of
// when it did what.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_FIXED_GENERATOR_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_FIXED_GENERATOR_H_

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "rollout/generator.h"
#include "tools/grpoctl_model/bench/workload.h"

namespace grpo {

// Times of Clock::Real since the last Clear. Thread-safe.
class GeneratorTimes {
 public:
  struct Times {
    // Before and after the generator took the weights; zero: it did not.
    absl::Duration offered, taken;
    absl::Duration first_step_begin, first_step_end, last_step_end;
    // Engine::seconds of the steps.
    PhaseSeconds engine;
  };
  void Clear() {
    absl::MutexLock lock(&mutex_);
    times_ = {};
  }
  Times Get() const {
    absl::MutexLock lock(&mutex_);
    return times_;
  }
  void Took(absl::Duration offered, absl::Duration taken);
  // `engine_before` and `engine_after`: Engine::seconds.
  void Stepped(absl::Duration begin, absl::Duration end, const PhaseSeconds& engine_before,
               const PhaseSeconds& engine_after);

 private:
  mutable absl::Mutex mutex_;
  Times times_ ABSL_GUARDED_BY(mutex_);
};

// The text of a request's prompt is its number: PromptIds. `times` outlives the generator.
absl::StatusOr<std::unique_ptr<Generator>> MakeFixedGenerator(const BenchOptions& options,
                                                              const GeneratorContext& context, GeneratorTimes* times);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_FIXED_GENERATOR_H_
