// Where a run's artifacts lie. Links no torch. Pure; any thread.
#ifndef GRPO_TRAINER_ARTIFACT_PLACES_H_
#define GRPO_TRAINER_ARTIFACT_PLACES_H_

#include <map>
#include <string>
#include <vector>

#include "trainer/plugin.h"
#include "trainer/run_config.h"

namespace grpo {

// Each has a place of its own in the run folder, where nothing else of the run is written. Whole keys.
std::vector<Conflict> ArtifactConflicts(const std::map<std::string, ArtifactOptions>& artifacts);

}  // namespace grpo

#endif  // GRPO_TRAINER_ARTIFACT_PLACES_H_
