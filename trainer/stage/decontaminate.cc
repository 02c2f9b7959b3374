#include "trainer/stage/decontaminate.h"

#include <algorithm>

#include "trainer/stage/ngrams.h"

namespace grpo {

void Decontamination::Add(absl::string_view problem) {
  const std::vector<uint64_t> words = WordHashes(problem);
  const std::vector<uint64_t> ngrams = NgramHashes(words, ngram_);
  if (static_cast<int64_t>(words.size()) < ngram_) {
    short_.insert(ngrams.begin(), ngrams.end());
    return;
  }
  const absl::flat_hash_set<uint64_t> distinct(ngrams.begin(), ngrams.end());
  for (const uint64_t ngram : distinct) ++counts_[ngram];
}

bool Decontamination::IsContaminated(absl::string_view text) const {
  const std::vector<uint64_t> words = WordHashes(text);
  const std::vector<uint64_t> ngrams = NgramHashes(words, ngram_);
  if (static_cast<int64_t>(words.size()) < ngram_) return !ngrams.empty() && short_.contains(ngrams[0]);
  return std::any_of(ngrams.begin(), ngrams.end(), [&](uint64_t ngram) {
    const auto found = counts_.find(ngram);
    return found != counts_.end() && found->second <= max_occurrences_;
  });
}

}  // namespace grpo
