// The rounds of a `repeat` in a run's list of stages, which trainer/unroll.h has made of it: which stage is of which
// round, and which rounds `until` leaves out. A decision follows from the reports of stages that have ended, which
// every checkpoint holds, so a resumed run decides as one that was never interrupted. Links no torch. Pure but for the
// log; any thread.
#ifndef GRPO_TRAINER_ROUNDS_H_
#define GRPO_TRAINER_ROUNDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/plugin.h"
#include "trainer/run_config.h"
#include "trainer/stage/report.h"

namespace grpo {

// "flywheel.2.solve": the stage of a round, from 1.
std::string RoundStageName(const std::string& repeat, int64_t round, const std::string& stage);

// A stage's place.
struct StageRound {
  std::string repeat;
  int64_t round = 0;
};
// nullopt for a stage of no round.
std::optional<StageRound> RoundOf(const RunConfig& config, const std::string& stage);

// Fills what is known of a stage's report before it runs: name and type, repeat and round.
void Identify(const RunConfig& config, const std::string& stage, const std::string& type, StageReport* report);

// What is wrong about `rounds`, which trainer/unroll.h has written into a resolved configuration; whole keys.
std::vector<Conflict> RoundConflicts(const RunConfig& config);

// Why the stage does not run: in an earlier round than its own, the second or a later one, the metric of `until` was
// not min_gain above that of the round before (to within 1e-9, so that 0.6 is 0.1 above 0.5). `reports` are those of
// the stages before it. Empty for a stage that runs. A round whose report lacks the metric decides nothing, and the log
// says so.
std::string WhyLeftOut(const RunConfig& config, const std::string& stage, const std::vector<StageReport>& reports);

}  // namespace grpo

#endif  // GRPO_TRAINER_ROUNDS_H_
