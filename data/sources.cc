#include "data/sources.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "data/mix.h"
#include "data/source_plugin.h"
#include "data/union.h"

namespace grpo {

#define DATA_SOURCE(name) DataSourcePlugin DataSource_##name();
#include "data/sources.inc"
#undef DATA_SOURCE

namespace {

// In the order of sources.inc.
const std::vector<std::pair<std::string, DataSourcePlugin>>& Plugins() {
  static const auto* const plugins = new std::vector<std::pair<std::string, DataSourcePlugin>>{
#define DATA_SOURCE(name) {#name, DataSource_##name()},
#include "data/sources.inc"
#undef DATA_SOURCE
  };
  return *plugins;
}

absl::StatusOr<const DataSourcePlugin*> FindPlugin(const DataOptions& options) {
  std::vector<std::string> known;
  for (const auto& [name, plugin] : Plugins()) {
    if (name == options.source) return &plugin;
    known.push_back(name);
  }
  return SectionError(
      options.options, "source",
      absl::StrCat("there is no data source \"", options.source, "\": ", SuggestName(options.source, known)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> MakeDataSource(const DataOptions& options, const std::string& base_folder,
                                                           const OpenDataFunction& open) {
  ASSIGN_OR_RETURN(const DataSourcePlugin* const plugin, FindPlugin(options));
  return plugin->make({.section = options.options, .base_folder = base_folder, .open = open});
}

std::vector<std::string> MixedSources(const DataOptions& options) {
  // Errors are CheckDataOptions's to tell.
  if (UnionOptions united; options.source == "union" && LoadOptions(options.options, &united).ok()) return united.of;
  MixOptions mix;
  if (options.source != "mix" || !LoadOptions(options.options, &mix).ok()) return {};
  std::vector<std::string> names;
  for (const auto& [name, share] : mix.mix) names.push_back(name);
  return names;
}

absl::Status CheckDataOptions(const DataOptions& options) {
  ASSIGN_OR_RETURN(const DataSourcePlugin* const plugin, FindPlugin(options));
  return plugin->check(options.options);
}

std::vector<DataSourceInfo> ListDataSources() {
  std::vector<DataSourceInfo> infos;
  for (const auto& [name, plugin] : Plugins()) {
    infos.push_back({.name = name, .summary = plugin.summary, .reference_table = plugin.reference_table});
  }
  return infos;
}

}  // namespace grpo
