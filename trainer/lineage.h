// On which earlier stages of a run a stage built: whose weights it began with, whose texts it learned from, whose
// policies it asked. What a policy has cost follows from that (tools/grpoctl/records/bill.h). Links no torch. Pure.
#ifndef GRPO_TRAINER_LINEAGE_H_
#define GRPO_TRAINER_LINEAGE_H_

#include <vector>

#include "trainer/run_config.h"
#include "trainer/stage/report.h"

namespace grpo {

// Fills weights_from, learned_from, taught_by and teachers of `report`, which has its policy; `before` are the reports of the
// stages that ended before it, in order. A policy that no stage of the run trained, and no policy that it was
// initialised from, comes from nowhere.
void FillLineage(const RunConfig& config, const ConfiguredStage& stage, const std::vector<StageReport>& before,
                 StageReport* report);

}  // namespace grpo

#endif  // GRPO_TRAINER_LINEAGE_H_
