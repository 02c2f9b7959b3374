// Several finite sources as one: what rounds of a run have written so far, and what was there before.
#ifndef GRPO_DATA_UNION_H_
#define GRPO_DATA_UNION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/visit.h"
#include "data/parts.h"
#include "data/source.h"

namespace grpo {

// What a problem's items must say for harder_first: a number from 0 (nobody solved it) to 1, among their metadata.
// `synthesize` writes it into every trace; of a problem without an answer the share of the majority stands for it.
inline constexpr char kSolveRateField[] = "solve_rate", kMajorityShareField[] = "majority_share";

// What `source: union` says.
struct UnionOptions {
  std::vector<std::string> of;
  bool deduplicate = true;
  bool harder_first = false;
  int64_t max_items = 0;

  template <class V>
  void Visit(V& v) {
    v("of", of,
      {.help =
           "Keys under `data`, of sources that have an end: all items of the first, then all of the second, and so "
           "on, called \"a/7\". What the rounds of a `repeat` write stands for what all rounds so far have written, "
           "the running one included.",
       .required = true});
    v("deduplicate", deduplicate,
      {.help =
           "Of items with the same prompt, answer and completion the first stays; runs of blanks and line ends count "
           "as one blank, and those at the ends not at all."});
    v("harder_first", harder_first,
      {.help =
           "The items of problems that were solved more rarely come first, and stages read them in this order, "
           "epoch after epoch, in place of shuffling. Each item has the field `solve_rate`, which `synthesize` "
           "writes; of a problem in several sources the last one's counts. Among equally hard ones only their texts "
           "decide the order."});
    v("max_items", max_items,
      {.help = "So many are kept, the first ones in that order (with harder_first the hardest); 0 keeps all.",
       .min = 0,
       .max = 1e12});
  }
};

// `text` with every run of ASCII white space as one blank, and none at its ends.
std::string NormalizedBlanks(absl::string_view text);

// Finite; an index over its parts, which hold the items.
class UnionSource : public PartsSource {
 public:
  // Reads every item once. `parts` are finite and not empty. InvalidArgument, naming part and item, for harder_first
  // with an item that has no solve rate from 0 to 1. Errors of the parts' Check().
  static absl::StatusOr<std::unique_ptr<UnionSource>> Make(std::vector<SourcePart> parts, const UnionOptions& options);

  int64_t size() const override { return static_cast<int64_t>(order_.size()); }
  DataItem At(int64_t index) const override;
  // Its own items, unless its parts look at fewer: one that max_items leaves out is nobody's fault.
  int64_t num_checked(int64_t endless_items) const override;
  DataItem CheckedAt(int64_t index, int64_t endless_items) const override;
  bool in_order() const override { return in_order_; }

 private:
  // An item: number `index` of a part.
  struct Place {
    uint32_t part = 0;
    int64_t index = 0;
  };

  UnionSource(std::vector<SourcePart> parts, std::vector<Place> order, bool in_order)
      : PartsSource(std::move(parts)), order_(std::move(order)), in_order_(in_order) {}

  const std::vector<Place> order_;
  const bool in_order_;
};

}  // namespace grpo

#endif  // GRPO_DATA_UNION_H_
