// A mix of sources by shares.
#ifndef GRPO_DATA_MIX_H_
#define GRPO_DATA_MIX_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/visit.h"
#include "data/parts.h"
#include "data/source.h"

namespace grpo {

// What `source: mix` says. Whether the shares add up is checked in data/sources/mix.cc.
struct MixOptions {
  std::map<std::string, double> mix;

  template <class V>
  void Visit(V& v) {
    v("mix", mix,
      {.help = "Keys under `data` and the share of each, {a: 0.7, b: 0.3}: whole ten-thousandths that add up to 1. At "
               "every moment each source has given its share of all items so far, to within one item. A mix has no "
               "end: a source that was read to its end begins again, in another order, and its problems are then "
               "called \"a/7#2\"; stages that sample each problem once need a number of `problems`.",
       .min = 0,
       .max = 1,
       .required = true});
  }
};

// Which source gives which item. A period of a fixed length in which each source has exactly its share; within it every
// item of a source lies between the earliest and the latest place that its share allows (the windows of Baruah et al.,
// "Proportionate progress", Algorithmica 1996, served earliest deadline first), so that after any number of items each
// source has given its share to less than one item, and in any window to less than two. Immutable.
class MixSchedule {
 public:
  // `shares` in ten-thousandths, each at least 1, together 10,000.
  explicit MixSchedule(std::vector<int64_t> shares);

  struct Draw {
    // Index into the shares.
    size_t part = 0;
    // Items of that part before this one.
    int64_t position = 0;
  };
  // Which item is number `position` (from 0) of the mix. O(1); any thread.
  Draw At(int64_t position) const;

 private:
  // Items of each part in a period; the shares without their common divisor.
  std::vector<int64_t> per_period_;
  // The draws of the first period.
  std::vector<Draw> period_;
};

// Endless. At(i) reads each source in its own order; ShuffledReader shuffles each. A finite source that was read to its
// end begins again.
class MixedSource : public PartsSource {
 public:
  // As many parts as `schedule` has shares, in the same order; none is empty.
  MixedSource(std::vector<SourcePart> parts, MixSchedule schedule)
      : PartsSource(std::move(parts)), schedule_(std::move(schedule)) {}

  int64_t size() const override { return -1; }
  DataItem At(int64_t index) const override;
  const MixedSource* mix() const override { return this; }

  const MixSchedule& schedule() const { return schedule_; }
  // `item` under its name in the mix: "a/7", and "a/7#2" when source a is read for the second time.
  DataItem Name(const MixSchedule::Draw& draw, DataItem item) const;

 private:
  const MixSchedule schedule_;
};

}  // namespace grpo

#endif  // GRPO_DATA_MIX_H_
