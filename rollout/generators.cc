#include <utility>

#include "absl/strings/str_cat.h"
#include "rollout/generator.h"
#include "rollout/generator_plugin.h"

namespace grpo {

#define GENERATOR(name) GeneratorPlugin Generator_##name();
#include "rollout/generators.inc"
#undef GENERATOR

using NamedPlugins = std::vector<std::pair<std::string, GeneratorPlugin>>;

// Only tests define it (tests/toy).
[[gnu::weak]] NamedPlugins ToyGenerators();

namespace {

// In the order of generators.inc.
const NamedPlugins& Plugins() {
  static const auto* const plugins = [] {
    auto* const all = new NamedPlugins{
#define GENERATOR(name) {#name, Generator_##name()},
#include "rollout/generators.inc"
#undef GENERATOR
    };
    if (ToyGenerators != nullptr) {
      for (auto& toy : ToyGenerators()) all->push_back(std::move(toy));
    }
    return all;
  }();
  return *plugins;
}

}  // namespace

const std::vector<GeneratorInfo>& ListGenerators() {
  static const auto* const infos = [] {
    auto* const all = new std::vector<GeneratorInfo>();
    for (const auto& [name, plugin] : Plugins()) {
      all->push_back(plugin.info);
      all->back().name = name;
    }
    return all;
  }();
  return *infos;
}

absl::StatusOr<std::unique_ptr<Generator>> MakeGenerator(const std::string& name, const Section& options,
                                                         const GeneratorContext& context) {
  std::vector<std::string> known;
  for (const auto& [known_name, plugin] : Plugins()) {
    if (known_name == name) return plugin.make(options, context);
    known.push_back(known_name);
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no generator \"", name, "\": ", SuggestName(name, known)));
}

absl::StatusOr<std::unique_ptr<Generator>> MakeDefaultGenerator(const GeneratorContext& context) {
  const NamedPlugins& plugins = Plugins();
  return (ToyGenerators == nullptr ? plugins.front() : plugins.back()).second.make(Section(), context);
}

}  // namespace grpo
