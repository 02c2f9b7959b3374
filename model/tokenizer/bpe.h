// Byte-pair encoding of words: of the pairs of neighbouring tokens the one whose merge stands first in the file is
// merged, the leftmost of several, until none can be.
#ifndef GRPO_MODEL_TOKENIZER_BPE_H_
#define GRPO_MODEL_TOKENIZER_BPE_H_

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/vocabulary.h"
#include "model/tokenizer/word_cache.h"

namespace grpo {

// What encoding a word needs beside the merges. One thread, one Bpe. It keeps words seen before (WordCache), so it is
// worth keeping too.
class BpeScratch {
 private:
  friend class Bpe;
  // A token of the word being merged; the list goes through those that are left.
  struct Symbol {
    uint32_t id;
    // Place of the merge with the token that follows; kNoMerge when there is none.
    uint32_t rank;
    int32_t previous, next;
  };
  std::vector<Symbol> symbols_;
  // Merges that can be done, rank << 32 | place of the left token; the smallest first. Those overtaken by others stay
  // in it until they come up.
  std::vector<uint64_t> heap_;
  WordCache cache_;
};

// Thread-safe, but for the scratch.
class Bpe {
 public:
  // `model` of a tokenizer.json. With `byte_level`, words come as bytes and the vocabulary is in the byte alphabet.
  // InvalidArgument, with the place, for what is not supported (dropout, affixes, byte fallback, an unknown token where
  // one could be needed) and for a merge whose tokens the vocabulary lacks. `vocabulary` is not needed afterwards.
  static absl::StatusOr<Bpe> FromJson(const nlohmann::json& model, const Vocabulary& vocabulary, bool byte_level);

  // Appends the tokens of a word of valid UTF-8, in n log n time. Returns the place of the first character (with
  // byte_level: byte) that no token stands for, if there is one. Nothing is appended then.
  std::optional<size_t> Encode(absl::string_view word, BpeScratch& scratch, std::vector<uint32_t>* ids) const;

  bool byte_level() const { return byte_level_; }

 private:
  static constexpr uint32_t kNone = 0xFFFFFFFF;
  // Two ids as one key of rank_of_pair_.
  static uint64_t Pair(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

  // InvalidArgument with the merge's position. A pair that is given twice counts where it stands last, as in the
  // library.
  absl::Status LoadMerges(const nlohmann::json& merges, const Vocabulary& vocabulary);
  // Fills id_of_byte_ or id_of_character_, and with whole_words id_of_word_.
  void LoadCharacters(const Vocabulary& vocabulary, bool whole_words);
  // Fills scratch.symbols_; the place of a character that no token stands for.
  std::optional<size_t> Spell(absl::string_view word, BpeScratch& scratch) const;
  // Place of the merge of this symbol with the next; kNone when there is none.
  uint32_t RankAt(const BpeScratch& scratch, int32_t place) const;
  // Merges scratch.symbols_ until nothing can be.
  void Merge(BpeScratch& scratch) const;

  bool byte_level_ = false;
  // With byte_level; kNone for bytes without a token. Otherwise the next, by code point.
  std::array<uint32_t, 256> id_of_byte_;
  absl::flat_hash_map<uint32_t, uint32_t> id_of_character_;
  // Words that are tokens as they stand, with ignore_merges.
  absl::flat_hash_map<std::string, uint32_t> id_of_word_;
  // Pair(left, right) -> place among the merges.
  absl::flat_hash_map<uint64_t, uint32_t> rank_of_pair_;
  // What a merge makes, by rank.
  std::vector<uint32_t> merged_id_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_BPE_H_
