#include "trainer/stage/ngrams.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "common/seeds.h"

namespace grpo {
namespace {

bool IsOfWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::vector<uint64_t> WordHashes(absl::string_view text) {
  std::vector<uint64_t> hashes;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && IsOfWord(text[end])) ++end;
    if (end > at) hashes.push_back(HashName(absl::AsciiStrToLower(text.substr(at, end - at))));
    at = end + 1;
  }
  return hashes;
}

std::vector<uint64_t> NgramHashes(const std::vector<uint64_t>& words, int64_t n) {
  std::vector<uint64_t> hashes;
  if (words.empty()) return hashes;
  const size_t length = std::min(static_cast<size_t>(n), words.size());
  for (size_t first = 0; first + length <= words.size(); ++first) {
    uint64_t hash = length;
    for (size_t i = first; i < first + length; ++i) hash = CombineSeeds(hash, words[i]);
    hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace grpo
