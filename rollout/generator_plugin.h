// What a file in generators/ defines. generators/x.cc with the line GENERATOR(x) in generators.inc holds
//
//   GeneratorPlugin Generator_x() {
//     return MakeGeneratorPlugin<XOptions, XGenerator>("One sentence.", {.ids = true, ...});
//   }
//
// where XOptions declares the generator's keys (configs/visit.h; NoOptions for none), the flags say what its
// completions carry, and XGenerator is a Generator that has
//   static absl::StatusOr<std::unique_ptr<Generator>> Create(const XOptions& options, const GeneratorContext& context);
#ifndef GRPO_ROLLOUT_GENERATOR_PLUGIN_H_
#define GRPO_ROLLOUT_GENERATOR_PLUGIN_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "configs/registry.h"
#include "rollout/generator.h"

namespace grpo {

struct GeneratorPlugin {
  // Its name is filled by the registry.
  GeneratorInfo info;
  std::function<absl::StatusOr<std::unique_ptr<Generator>>(const Section& options, const GeneratorContext& context)>
      make;
};

// An entry whose make loads the options (InvalidArgument with file, line and key) and calls Create.
template <class Options, class GeneratorType>
GeneratorPlugin MakeGeneratorPlugin(std::string summary, Carries carries) {
  return {.info = {.summary = std::move(summary), .carries = carries, .reference_table = ReferenceTable<Options>()},
          .make = [](const Section& section,
                     const GeneratorContext& context) -> absl::StatusOr<std::unique_ptr<Generator>> {
            Options options;
            RETURN_IF_ERROR(LoadOptions(section, &options));
            return GeneratorType::Create(options, context);
          }};
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_GENERATOR_PLUGIN_H_
