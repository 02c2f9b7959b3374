// What a file in stage/ defines. stage/x.cc with the line STAGE(x) in stages.inc holds
//
//   StagePlugin Stage_x() { return MakeStagePlugin<XOptions, XStage>("One sentence."); }
//
// where XOptions declares the keys that stand beside `name` and `type` (configs/visit.h), and XStage is a Stage that is
// constructed from them and has
//   static StageView View();
// Where keys declare further keys (an algorithm's), XStage also has
//   static absl::StatusOr<std::unique_ptr<Stage>> Create(XOptions options, const Section& section);
//   static absl::Status Resolve(XOptions* options);
// in place of the constructor, and to fill in every key of those further ones.
#ifndef GRPO_TRAINER_STAGE_STAGE_PLUGIN_H_
#define GRPO_TRAINER_STAGE_STAGE_PLUGIN_H_

#include <memory>
#include <string>
#include <utility>

#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/stage/stage.h"

namespace grpo {

template <class Options, class StageType>
StagePlugin MakeStagePlugin(std::string summary) {
  StagePlugin plugin;
  plugin.summary = std::move(summary);
  plugin.reference_table = ReferenceTable<Options>("stages[].");
  plugin.view = StageType::View();
  plugin.make = [](const Section& section) -> absl::StatusOr<std::unique_ptr<Stage>> {
    Options options;
    const absl::Status loaded = LoadOptions(section, &options);
    if constexpr (requires { StageType::Create(options, section); }) {
      // Errors of all keys come together.
      absl::StatusOr<std::unique_ptr<Stage>> stage = StageType::Create(std::move(options), section);
      RETURN_IF_ERROR(JoinErrors({loaded, stage.status()}));
      return stage;
    } else {
      RETURN_IF_ERROR(loaded);
      return std::make_unique<StageType>(std::move(options));
    }
  };
  plugin.resolve = [](const Section& section) -> absl::StatusOr<Section> {
    Options options;
    RETURN_IF_ERROR(LoadOptions(section, &options));
    if constexpr (requires { StageType::Resolve(&options); }) RETURN_IF_ERROR(StageType::Resolve(&options));
    return ToSection(options, section);
  };
  return plugin;
}

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_STAGE_PLUGIN_H_
