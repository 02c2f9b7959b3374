#include "rollout/generator.h"
#include "rollout/generator_plugin.h"

namespace grpo {

#define GENERATOR(name) GeneratorPlugin Generator_##name();
#include "rollout/generators.inc"
#undef GENERATOR

// Only tests define it.
[[gnu::weak]] Registry<GeneratorPlugin>::Entries ToyGenerators();

namespace {

const Registry<GeneratorPlugin>& Generators() {
  static const auto* const registry = new Registry<GeneratorPlugin>("generator",
                                                                    {
#define GENERATOR(name) {#name, Generator_##name()},
#include "rollout/generators.inc"
#undef GENERATOR
                                                                    },
                                                                    ToyGenerators);
  return *registry;
}

}  // namespace

const std::vector<GeneratorInfo>& ListGenerators() {
  static const auto* const infos = [] {
    auto* const all = new std::vector<GeneratorInfo>();
    for (const auto& [name, plugin] : Generators().entries()) {
      all->push_back(plugin.info);
      all->back().name = name;
    }
    return all;
  }();
  return *infos;
}

absl::StatusOr<std::unique_ptr<Generator>> MakeGenerator(const std::string& name, const Section& options,
                                                         const GeneratorContext& context) {
  ASSIGN_OR_RETURN(const GeneratorPlugin* const plugin, Generators().Find(name));
  return plugin->make(options, context);
}

absl::StatusOr<std::unique_ptr<Generator>> MakeDefaultGenerator(const GeneratorContext& context) {
  const auto& entries = Generators().entries();
  return (ToyGenerators == nullptr ? entries.front() : entries.back()).plugin.make(Section(), context);
}

}  // namespace grpo
