// Where prompts and documents come from. One .cc in sources/ and one line in sources.inc each.
#ifndef GRPO_DATA_SOURCE_H_
#define GRPO_DATA_SOURCE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/visit.h"
#include "data/options.h"
#include "proto/types.pb.h"

namespace grpo {

// One problem (prompt with its answer), perhaps with a completion to learn from, or one document of a corpus (prompt
// text empty).
struct DataItem {
  v1::Prompt prompt;
  std::string completion;
  std::string document;
};

class MixedSource;

// A finite or endless sequence of items, fixed by its options: At(i) is the same on every call and machine.
// Thread-safe.
class DataSource {
 public:
  virtual ~DataSource() = default;
  // Items; -1 for an endless source.
  virtual int64_t size() const = 0;
  // Item `index`, 0 <= index (and < size() if finite).
  virtual DataItem At(int64_t index) const = 0;
  // SHA-256 (hex) of what the items come from beside the options: the bytes of a file. Empty for a source that
  // generates them: its build is its version.
  virtual std::string content_sha256() const { return ""; }

  // The items that checks before a run look at, CheckedAt(0) to CheckedAt(num_checked() - 1): all of a finite source,
  // the first `endless_items` of an endless one, and of a mix those of each of its sources.
  virtual int64_t num_checked(int64_t endless_items) const { return size() < 0 ? endless_items : size(); }
  virtual DataItem CheckedAt(int64_t index, int64_t endless_items) const { return At(index); }

  // A mix of other sources; null for all that is none.
  virtual const MixedSource* mix() const { return nullptr; }
};

// Opens another entry of `data` by its name.
using OpenDataFunction = std::function<absl::StatusOr<std::unique_ptr<DataSource>>(const std::string& name)>;

// Builds the source that options.source names. InvalidArgument for unknown sources (the nearest is named) and bad
// options, DataLoss for bad data (with file and line), NotFound for a missing file. Relative paths are relative to
// base_folder. `open` opens the sources that a mix refers to.
absl::StatusOr<std::unique_ptr<DataSource>> MakeDataSource(const DataOptions& options, const std::string& base_folder,
                                                           const OpenDataFunction& open = nullptr);

// The other entries of `data` that a mix draws from; none for all that is no mix.
std::vector<std::string> MixedSources(const DataOptions& options);

// The errors in what is configured that can be said before the source's file is there.
absl::Status CheckDataOptions(const DataOptions& options);

// Names and one-line summaries, in the order of sources.inc, with each source's table of keys (configs/load.h
// ReferenceTable).
struct DataSourceInfo {
  std::string name, summary, reference_table;
};
std::vector<DataSourceInfo> ListDataSources();

// Reads a source in an order of its own: position p is the p-th draw of a seeded permutation, a new one each epoch
// (endless sources are read in their order; of a mix each source is read so, in the mix's shares). The position alone
// is the state to save. Thread-compatible.
class ShuffledReader {
 public:
  ShuffledReader(const DataSource* source, uint64_t seed);
  DataItem At(int64_t position);

 private:
  const DataSource* const source_;
  const uint64_t seed_;
  std::vector<ShuffledReader> parts_;  // of a mix
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

}  // namespace grpo

#endif  // GRPO_DATA_SOURCE_H_
