// Sources that one source is made of: what `mix` and `union` have in common.
#ifndef GRPO_DATA_PARTS_H_
#define GRPO_DATA_PARTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "configs/load.h"
#include "data/source.h"

namespace grpo {

// One of them. `name` is its key under `data`.
struct SourcePart {
  std::string name;
  std::unique_ptr<DataSource> source;
};

// That a further source holds what the parts so far hold: problems with completions, problems without, or documents.
// InvalidArgument at `key` of the section, naming both. None of the sources is empty.
absl::Status CheckSameKind(const std::vector<SourcePart>& parts, const DataSource& further, const Section& section,
                           const std::string& key);

// Owns its parts; thread-safe as they are. What comes from a part is called by the part's name too: "a/7".
class PartsSource : public DataSource {
 public:
  // Errors of the parts' Check().
  absl::Status Check() const override;
  // What of each part is checked, one part after the other.
  int64_t num_checked(int64_t endless_items) const override;
  DataItem CheckedAt(int64_t index, int64_t endless_items) const override;

  const std::vector<SourcePart>& parts() const { return parts_; }

 protected:
  explicit PartsSource(std::vector<SourcePart> parts) : parts_(std::move(parts)) {}

  // `item` of that part, under its name here.
  DataItem Named(size_t part, DataItem item) const;

 private:
  const std::vector<SourcePart> parts_;
};

}  // namespace grpo

#endif  // GRPO_DATA_PARTS_H_
