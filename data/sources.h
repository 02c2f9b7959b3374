// The data sources that there are. One .cc in sources/ and one line in sources.inc each.
#ifndef GRPO_DATA_SOURCES_H_
#define GRPO_DATA_SOURCES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/options.h"
#include "data/source.h"

namespace grpo {

// Builds the source that options.source names. InvalidArgument for unknown sources (the nearest is named) and bad
// options, DataLoss for bad data (with file and line), NotFound for a missing file. Relative paths are relative to
// base_folder. `open` opens the sources that a mix refers to. Files are read here, not later. Any thread.
absl::StatusOr<std::unique_ptr<DataSource>> MakeDataSource(const DataOptions& options, const std::string& base_folder,
                                                           const OpenDataFunction& open = nullptr);

// The other entries of `data` that a mix draws from (in the order of their names) or a union is of (in its own); none for
// all else. Empty, too, when it cannot be read: CheckDataOptions says why.
std::vector<std::string> MixedSources(const DataOptions& options);

// The errors in what is configured that can be said before the source's file is there. InvalidArgument, with file, line
// and key: an unknown source, unknown keys, values out of range.
absl::Status CheckDataOptions(const DataOptions& options);

// Names and one-line summaries, in the order of sources.inc, with each source's table of keys (configs/load.h
// ReferenceTable).
struct DataSourceInfo {
  std::string name, summary, reference_table;
};
// Made anew at each call.
std::vector<DataSourceInfo> ListDataSources();

}  // namespace grpo

#endif  // GRPO_DATA_SOURCES_H_
