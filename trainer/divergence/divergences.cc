#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/divergence/divergence.h"
#include "trainer/divergence/divergence_plugin.h"

namespace grpo {

#define DIVERGENCE(name) DivergencePlugin Divergence_##name();
#include "trainer/divergences.inc"
#undef DIVERGENCE

// Only tests define it.
[[gnu::weak]] Registry<DivergencePlugin>::Entries ToyDivergences();

namespace {

const Registry<DivergencePlugin>& Divergences() {
  static const auto* const registry = new Registry<DivergencePlugin>("divergence",
                                                                     {
#define DIVERGENCE(name) {#name, Divergence_##name()},
#include "trainer/divergences.inc"
#undef DIVERGENCE
                                                                     },
                                                                     ToyDivergences);
  return *registry;
}

}  // namespace

const std::vector<DivergenceInfo>& ListDivergences() {
  static const auto* const infos = [] {
    auto* const all = new std::vector<DivergenceInfo>;
    for (const auto& [name, plugin] : Divergences().entries())
      all->push_back({.name = name, .summary = plugin.summary, .curvature = plugin.traits.curvature});
    return all;
  }();
  return *infos;
}

absl::StatusOr<std::unique_ptr<Divergence>> MakeDivergence(const std::string& name, const Section& options) {
  ASSIGN_OR_RETURN(const DivergencePlugin* const plugin, Divergences().Find(name));
  absl::StatusOr<std::unique_ptr<Divergence>> divergence = plugin->make(options);
  if (!divergence.ok()) return Annotate(divergence.status(), absl::StrCat("divergence ", name));
  return divergence;
}

}  // namespace grpo
