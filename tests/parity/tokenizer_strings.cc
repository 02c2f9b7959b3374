#include "tests/parity/tokenizer_strings.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/utf8.h"

namespace grpo {
namespace {

std::string Repeat(const std::string& text, int64_t count) {
  std::string result;
  for (int64_t i = 0; i < count; ++i) absl::StrAppend(&result, text);
  return result;
}

}  // namespace

TokenizerStrings::TokenizerStrings(const nlohmann::json& description, const std::string& snippets)
    : lines_(absl::StrSplit(snippets, '\n')) {
  description.at("alphabets").get_to(alphabets_);
  for (absl::string_view rest = snippets; !rest.empty();) {
    const size_t num_bytes = std::max<size_t>(FirstCharacter(rest).num_bytes, 1);
    snippets_.emplace_back(rest.substr(0, num_bytes));
    rest.remove_prefix(num_bytes);
  }
  for (const auto& range : description.at("assigned")) {
    for (uint32_t c = range[0]; c <= range[1]; ++c) AppendCharacter(c, &characters_.emplace_back());
  }
}

std::string TokenizerStrings::Draw(const std::string& alphabet, int64_t count, Rng& rng) const {
  std::string result;
  for (int64_t i = 0; i < count; ++i) absl::StrAppend(&result, rng.Choice(alphabets_.at(alphabet)));
  return result;
}

std::string TokenizerStrings::Piece(Rng& rng) const {
  std::string result;
  switch (rng.Below(12)) {
    case 0:
    case 1: {
      const int64_t begin = rng.Below(static_cast<int64_t>(snippets_.size()));
      const int64_t end = std::min<int64_t>(begin + 1 + rng.Below(60), static_cast<int64_t>(snippets_.size()));
      for (int64_t i = begin; i < end; ++i) absl::StrAppend(&result, snippets_[i]);
      return result;
    }
    case 2:
      return rng.Choice(lines_);
    case 3:
      result = Draw("space", 1, rng);
      return Repeat(result, 1 + rng.Below(5));
    case 4:
      return Draw("digit", 1 + rng.Below(9), rng);
    case 5:
      for (int64_t left = 1 + rng.Below(6); left > 0; --left) absl::StrAppend(&result, rng.Choice(characters_));
      return result;
    case 6:
      result = Draw("letter", 1, rng);
      return absl::StrCat(result, Draw("mark", 1 + rng.Below(4), rng));
    case 7:
      return Draw("emoji", 1 + rng.Below(3), rng);
    case 8:
      for (int64_t left = 1 + rng.Below(12); left > 0; --left)
        result.push_back(static_cast<char>(0x20 + rng.Below(0x5F)));
      return result;
    case 9:
      result = Draw("quote", 1, rng);
      return absl::StrCat(result, Draw("suffix", 1, rng));
    case 10:
      return Draw("special", 1, rng);
    default:
      result = Draw("letter", 1, rng);
      result = Repeat(result, 1 + rng.Below(20));
      return absl::StrCat(result, Draw("space", 1, rng));
  }
}

std::string TokenizerStrings::String(uint64_t number) const {
  Rng rng(number);
  std::string result;
  for (int64_t left = 1 + rng.Below(8); left > 0; --left) absl::StrAppend(&result, Piece(rng));
  return result;
}

std::string TokenizerStrings::OfCharacter(size_t index) const {
  const std::string& c = characters_[index];
  return absl::StrCat(c, "a", c, " ", absl::StrCat(c, c, "1", c, "'", c, "\n", c));
}

}  // namespace grpo
