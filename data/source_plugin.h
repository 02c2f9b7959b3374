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

// Where a source's options stand, what their relative paths are relative to, and the way to other sources.
struct DataSourceContext {
  const Section& section;
  const std::string& base_folder;
  const OpenDataFunction& open;
};

struct DataSourcePlugin {
  std::string summary;
  std::string reference_table;
  // Whether the keys are those that the source declares, each in range.
  std::function<absl::Status(const Section&)> check;
  std::function<absl::StatusOr<std::unique_ptr<DataSource>>(const DataSourceContext&)> make;
};

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
