// What a run's stages have taken: seconds, tokens and money, over all starts of the run. Also what was done and then
// undone by a kill counts, since it was spent; checkpoints and metrics.jsonl know nothing of that. Links no torch.
#ifndef GRPO_TRAINER_RECORDS_SPENDING_H_
#define GRPO_TRAINER_RECORDS_SPENDING_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"
#include "trainer/records/run_guard.h"

namespace grpo {

// Of one stage. Plain data.
struct Spent {
  // Of the run, that worked on the stage: above 1, some work may have been done twice.
  int64_t starts = 0;
  // By the clock; pauses count.
  double seconds = 0;
  // Sampled, or trained on.
  double tokens = 0;
  // What endpoints asked for.
  double usd = 0;
};

// spending.json of a run folder. A kill loses what the newest kInterval (and the step that was under way) took. Costs
// are not worth a run: a file that cannot be read or written is said once, and the run goes on. One thread.
class SpendingLog {
 public:
  // With `resume` what earlier starts have written counts on. `clock` and `guard` outlive this; without a guard nobody
  // else is in the folder. Nothing is written where it forbids that.
  SpendingLog(std::string path, bool resume, const Clock& clock = Clock::Real(), RunGuard* guard = nullptr);

  // A stage begins or goes on. `seconds_before` is what its checkpoint says it had taken, for runs that have no such
  // file yet.
  void Begin(const std::string& stage, double seconds_before = 0);
  // Of the stage that runs: THE place for what it takes. Call it as work is done, not at the end: a kill may come.
  void AddTokens(int64_t num_tokens);
  void AddUsd(double usd);
  // Writes, when kInterval has passed since it last did. Call it now and then.
  void Tick();
  // Writes. Call it before a checkpoint is saved, so that nothing of what that counts as done is missing here.
  void Save();
  // The stage that runs has ended: all that it took.
  Spent End();

  static constexpr absl::Duration kInterval = absl::Seconds(2);

 private:
  void Read();
  // Of the stage that runs, as it is now.
  Spent Current() const;

  const std::string path_;
  const Clock& clock_;
  RunGuard* const guard_;
  // By stage; of the one that runs, as it began.
  std::map<std::string, Spent> spent_;
  // Empty between stages.
  std::string running_;
  // On the clock.
  absl::Duration begun_, written_;
  bool failed_ = false;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_SPENDING_H_
