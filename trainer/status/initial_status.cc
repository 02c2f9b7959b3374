#include "trainer/status/initial_status.h"

namespace grpo {

v1::RunStatus InitialStatus(const RunConfig& config, const std::string& run_id, const std::string& run_dir) {
  v1::RunStatus status;
  status.set_run_id(run_id);
  status.set_run_name(config.run.name);
  status.set_run_dir(run_dir);
  status.set_state(v1::RUN_STATE_STARTING);
  status.set_phase("start");
  for (const ConfiguredStage& configured : config.stages) {
    v1::StageStatus* stage = status.add_stages();
    stage->set_name(configured.name);
    stage->set_type(configured.type);
    stage->set_state(v1::STAGE_STATE_PENDING);
    stage->set_num_steps(configured.stage->cost().steps.value_or(0));
  }
  return status;
}

}  // namespace grpo
