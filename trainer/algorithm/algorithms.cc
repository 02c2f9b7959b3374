#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/algorithm/algorithm.h"

namespace grpo {

#define ALGORITHM(name) AlgorithmPlugin Algorithm_##name();
#include "trainer/algorithms.inc"
#undef ALGORITHM

// Only tests define it.
[[gnu::weak]] Registry<AlgorithmPlugin>::Entries ToyAlgorithms();

namespace {

const Registry<AlgorithmPlugin>& Algorithms() {
  static const auto* const registry = new Registry<AlgorithmPlugin>("algorithm",
                                                                    {
#define ALGORITHM(name) {#name, Algorithm_##name()},
#include "trainer/algorithms.inc"
#undef ALGORITHM
                                                                    },
                                                                    ToyAlgorithms);
  return *registry;
}

}  // namespace

std::vector<Conflict> Algorithm::Conflicts(const std::string& trained_policy) const {
  std::vector<Conflict> conflicts = OwnConflicts();
  for (const Reference& reference : references()) {
    if (reference.section != "policies" || reference.value != trained_policy) continue;
    for (const FrozenPolicy& frozen : this->frozen()) {
      if (frozen.policy != trained_policy) continue;
      conflicts.push_back(
          {reference.key, "is the policy that is trained; name another, such as the one it starts from"});
      break;
    }
  }
  return conflicts;
}

const std::vector<AlgorithmInfo>& ListAlgorithms() {
  static const auto* const infos = [] {
    auto* const all = new std::vector<AlgorithmInfo>;
    for (const auto& [name, plugin] : Algorithms().entries())
      all->push_back({.name = name, .summary = plugin.summary, .reference_table = plugin.reference_table});
    return all;
  }();
  return *infos;
}

absl::StatusOr<const AlgorithmPlugin*> FindAlgorithm(const std::string& name) {
  return Algorithms().Find(name);
}

absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(const std::string& name, const Section& options) {
  ASSIGN_OR_RETURN(const AlgorithmPlugin* const plugin, FindAlgorithm(name));
  return plugin->make(options);
}

absl::StatusOr<Section> ResolveAlgorithm(const std::string& name, const Section& options) {
  ASSIGN_OR_RETURN(const AlgorithmPlugin* const plugin, FindAlgorithm(name));
  return plugin->resolve(options);
}

}  // namespace grpo
