// Token ids of words seen before, in bounded memory.
#ifndef GRPO_MODEL_TOKENIZER_WORD_CACHE_H_
#define GRPO_MODEL_TOKENIZER_WORD_CACHE_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grpo {

// A hash table with one place per hash, over an arena that is emptied when it is full: a look-up costs one comparison,
// and no word costs an allocation. One thread. Allocates at the first Insert, some 2.5 MiB at most.
class WordCache {
 public:
  // Longer words are not kept.
  static constexpr size_t kMaxWordBytes = 256;

  // Appends the ids of the word and returns true if it is known. `hash` is the word's. The same hash function at every
  // call.
  bool Find(absl::string_view word, uint64_t hash, std::vector<uint32_t>* ids) const;
  // Takes the place of whatever has the same slot. Empty and long words are passed by.
  void Insert(absl::string_view word, uint64_t hash, absl::Span<const uint32_t> ids);

 private:
  static constexpr size_t kNumSlots = 1 << 15, kMaxArenaWords = 1 << 19;
  struct Slot {
    // Upper half of the hash: most other words differ here.
    uint32_t tag;
    // Where in the arena the ids lie, and behind them the word's bytes.
    uint32_t offset;
    // 0 in an empty slot.
    uint32_t num_bytes;
    uint32_t num_ids;
  };

  std::vector<Slot> slots_;
  std::vector<uint32_t> arena_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_WORD_CACHE_H_
