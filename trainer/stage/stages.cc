#include "trainer/stage/stage.h"

namespace grpo {

#define STAGE(name) StagePlugin Stage_##name();
#include "trainer/stages.inc"
#undef STAGE

// Only tests define it.
[[gnu::weak]] Registry<StagePlugin>::Entries ToyStages();

const Registry<StagePlugin>& Stages() {
  static const auto* const registry = new Registry<StagePlugin>("type of stage",
                                                                {
#define STAGE(name) {#name, Stage_##name()},
#include "trainer/stages.inc"
#undef STAGE
                                                                },
                                                                ToyStages);
  return *registry;
}

std::vector<const char*> StageTypes() {
  std::vector<const char*> types;
  for (const auto& entry : Stages().entries()) types.push_back(entry.name.c_str());
  return types;
}

const StageView& StageViewOf(const std::string& type) {
  static const StageView* const unknown = new StageView;
  const absl::StatusOr<const StagePlugin*> plugin = Stages().Find(type);
  return plugin.ok() ? (*plugin)->view : *unknown;
}

}  // namespace grpo
