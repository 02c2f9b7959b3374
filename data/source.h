// Where prompts and documents come from: the interface. data/sources.h has the list of those there are.
//
//   file --ReadRecords--> records --MakeItem--> items -+-> DataSource --ShuffledReader--> the order of a stage
//                          problems made by arithmetic -+
//                     other sources, by shares (mix.h) -+
#ifndef GRPO_DATA_SOURCE_H_
#define GRPO_DATA_SOURCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/types.pb.h"

namespace grpo {

// One problem (prompt with its answer), perhaps with a completion to learn from, or one document of a corpus (prompt
// text empty).
struct DataItem {
  // Its id is unique in the source.
  v1::Prompt prompt;
  // What the prompt is to be answered with (`sft`); empty where there is none.
  std::string completion;
  // Text of a corpus, for pre-training; empty for a problem.
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
  // Item `index`, 0 <= index (and < size() if finite). A copy.
  virtual DataItem At(int64_t index) const = 0;
  // SHA-256 (hex) of what the items come from beside the options: the bytes of a file. Empty for a source that
  // generates them: its build is its version.
  virtual std::string content_sha256() const { return ""; }

  // The first error of At, for a source whose items are read when they are asked for: what At returned then is empty.
  // Whoever uses what At returned asks first. OK for all others.
  virtual absl::Status Check() const { return absl::OkStatus(); }

  // The items that checks before a run look at, CheckedAt(0) to CheckedAt(num_checked() - 1): all of a finite source,
  // of a large one that was checked whole when it was opened some of all lengths, the first `endless_items` of an
  // endless one, and of a mix those of each of its sources.
  virtual int64_t num_checked(int64_t endless_items) const { return size() < 0 ? endless_items : size(); }
  // Number `index` of those, from 0 to below num_checked(endless_items).
  virtual DataItem CheckedAt(int64_t index, int64_t endless_items) const { return At(index); }

  // Whether its order says what is learned first: ShuffledReader then leaves it as it is.
  virtual bool in_order() const { return false; }

  // A mix of other sources; null for all that is none. It lives as long as this source.
  virtual const MixedSource* mix() const { return nullptr; }
};

// Opens another entry of `data` by its name, one that there is. Errors of MakeDataSource (data/sources.h), and of
// whatever its maker checks besides.
using OpenDataFunction = std::function<absl::StatusOr<std::unique_ptr<DataSource>>(const std::string& name)>;

}  // namespace grpo

#endif  // GRPO_DATA_SOURCE_H_
