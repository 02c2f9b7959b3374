// All items of several sources, as one.
#include "data/union.h"

#include "absl/strings/str_cat.h"
#include "data/source_plugin.h"

namespace grpo {
namespace {

absl::Status CheckKeys(const UnionOptions& options, const Section& section) {
  if (!options.of.empty()) return absl::OkStatus();
  return SectionError(section, "of", "names no source; write keys under `data`, such as [a, b]");
}

absl::Status Check(const Section& section) {
  UnionOptions options;
  RETURN_IF_ERROR(LoadOptions(section, &options));
  return CheckKeys(options, section);
}

absl::StatusOr<std::unique_ptr<DataSource>> Make(const UnionOptions& options, const DataSourceContext& context) {
  RETURN_IF_ERROR(CheckKeys(options, context.section));
  std::vector<SourcePart> parts;
  for (size_t i = 0; i < options.of.size(); ++i) {
    const std::string& name = options.of[i];
    const std::string key = absl::StrCat("of.", i);
    if (context.open == nullptr) return SectionError(context.section, key, "there are no other data to unite here");
    ASSIGN_OR_RETURN(std::unique_ptr<DataSource> source, context.open(name));
    if (source->size() < 0)
      return SectionError(context.section, key,
                          absl::StrCat("is ", name, ", which has no end; `source: mix` takes it"));
    RETURN_IF_ERROR(CheckSameKind(parts, *source, context.section, key));
    parts.push_back({.name = name, .source = std::move(source)});
  }
  return UnionSource::Make(std::move(parts), options);
}

}  // namespace

DataSourcePlugin DataSource_union() {
  DataSourcePlugin plugin = MakeDataSourcePlugin<UnionOptions>(
      "All items of several finite sources, without repetitions and, on demand, the harder ones first.", Make);
  plugin.check = Check;
  return plugin;
}

}  // namespace grpo
