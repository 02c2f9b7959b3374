// What a file in sources/ defines. sources/x.cc with the line DATA_SOURCE(x) in sources.inc holds
//
//   DataSourcePlugin DataSource_x() { return MakeDataSourcePlugin<XOptions>("One sentence.", Make); }
//
// where XOptions declares the source's keys (configs/visit.h) and Make builds it from them.
#ifndef GRPO_DATA_SOURCE_PLUGIN_H_
#define GRPO_DATA_SOURCE_PLUGIN_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "configs/visit.h"
#include "data/source.h"

namespace grpo {

// Where a source's options stand, what their relative paths are relative to, and the way to other sources. It refers to
// things of its maker and lives no longer than the call of `make`.
struct DataSourceContext {
  // The keys of data.<name> but source and artifact.
  const Section& section;
  // The configuration's folder.
  const std::string& base_folder;
  // Null where there are no others.
  const OpenDataFunction& open;
};

// An entry of sources.inc.
struct DataSourcePlugin {
  // One sentence, and the Markdown table of its keys.
  std::string summary;
  std::string reference_table;
  // Whether the keys are those that the source declares, each in range. Reads no file. InvalidArgument with file, line
  // and key.
  std::function<absl::Status(const Section&)> check;
  // Opens the source; MakeDataSource's errors.
  std::function<absl::StatusOr<std::unique_ptr<DataSource>>(const DataSourceContext&)> make;
};

// `make` is called with options that LoadOptions has filled.
template <class Options>
DataSourcePlugin MakeDataSourcePlugin(std::string summary,
                                      absl::StatusOr<std::unique_ptr<DataSource>> (*make)(const Options&,
                                                                                          const DataSourceContext&)) {
  return {.summary = std::move(summary),
          .reference_table = ReferenceTable<Options>(),
          .check =
              [](const Section& section) {
                Options options;
                return LoadOptions(section, &options);
              },
          .make = [make](const DataSourceContext& context) -> absl::StatusOr<std::unique_ptr<DataSource>> {
            Options options;
            RETURN_IF_ERROR(LoadOptions(context.section, &options));
            return make(options, context);
          }};
}

}  // namespace grpo

#endif  // GRPO_DATA_SOURCE_PLUGIN_H_
