// Texts as words and n-grams of words, hashed, to find what two texts have in common. Pure; any thread.
#ifndef GRPO_TRAINER_STAGE_NGRAMS_H_
#define GRPO_TRAINER_STAGE_NGRAMS_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

// A hash of each word, in order: the same for the same word in any text. A word is a run of letters and digits,
// lower-cased in ASCII; bytes above 0x7F are letters.
std::vector<uint64_t> WordHashes(absl::string_view text);

// A hash of each n words in a row, in order; of a text with fewer than n words one, of all of them, and of one without
// words none. n is at least 1.
std::vector<uint64_t> NgramHashes(const std::vector<uint64_t>& words, int64_t n);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_NGRAMS_H_
