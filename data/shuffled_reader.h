// A source in the order in which it is learned from.
#ifndef GRPO_DATA_SHUFFLED_READER_H_
#define GRPO_DATA_SHUFFLED_READER_H_

#include <cstdint>
#include <vector>

#include "data/source.h"

namespace grpo {

// Reads a source in an order of its own: position p is the p-th draw of a seeded permutation, a new one each epoch
// (endless sources, and those whose order counts, are read in their order; of a mix each source is read so, in the mix's
// shares). The position alone is the state to save. Thread-compatible.
class ShuffledReader {
 public:
  // `source` outlives the reader. The same seed gives the same order, on every machine.
  ShuffledReader(const DataSource* source, uint64_t seed);
  // Item number `position`, from 0, over all epochs: any position in any order, but a new epoch costs a shuffle of all
  // indices. A finite source has at least one item.
  DataItem At(int64_t position);
  // Its index in the source, which is no mix: At(position) is the source's At(IndexAt(position)).
  int64_t IndexAt(int64_t position);

 private:
  const DataSource* const source_;
  const uint64_t seed_;
  std::vector<ShuffledReader> parts_;  // of a mix
  // Whose order is in order_; -1 before the first call.
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

}  // namespace grpo

#endif  // GRPO_DATA_SHUFFLED_READER_H_
