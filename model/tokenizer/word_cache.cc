#include "model/tokenizer/word_cache.h"

#include <cstring>

namespace grpo {

bool WordCache::Find(absl::string_view word, uint64_t hash, std::vector<uint32_t>* ids) const {
  if (slots_.empty()) return false;
  const Slot& slot = slots_[hash % kNumSlots];
  if (slot.tag != static_cast<uint32_t>(hash >> 32) || slot.num_bytes != word.size()) return false;
  const uint32_t* stored = arena_.data() + slot.offset;
  if (std::memcmp(stored + slot.num_ids, word.data(), word.size()) != 0) return false;
  ids->insert(ids->end(), stored, stored + slot.num_ids);
  return true;
}

void WordCache::Insert(absl::string_view word, uint64_t hash, absl::Span<const uint32_t> ids) {
  if (word.empty() || word.size() > kMaxWordBytes) return;
  const size_t num_words = ids.size() + (word.size() + 3) / 4;
  if (slots_.empty() || arena_.size() + num_words > kMaxArenaWords) {
    slots_.assign(kNumSlots, Slot{});
    arena_.clear();
  }
  const size_t offset = arena_.size();
  arena_.resize(offset + num_words);
  std::memcpy(arena_.data() + offset, ids.data(), ids.size() * sizeof(uint32_t));
  std::memcpy(arena_.data() + offset + ids.size(), word.data(), word.size());
  slots_[hash % kNumSlots] = {static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(offset),
                              static_cast<uint32_t>(word.size()), static_cast<uint32_t>(ids.size())};
}

}  // namespace grpo
