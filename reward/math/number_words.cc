#include "reward/math/number_words.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace grpo::math {
namespace {

constexpr absl::string_view kUnits[] = {
    "zero", "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",    "nine",
    "ten",  "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr absl::string_view kTens[] = {"twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};

template <size_t N>
std::optional<int64_t> PlaceIn(const absl::string_view (&list)[N], absl::string_view word) {
  const auto found = std::find(std::begin(list), std::end(list), word);
  return found == std::end(list) ? std::nullopt : std::optional<int64_t>(found - std::begin(list));
}

}  // namespace

bool IsNumberWord(absl::string_view word) {
  return PlaceIn(kUnits, word).has_value() || PlaceIn(kTens, word).has_value();
}

std::optional<int64_t> NumberOfWords(const std::vector<std::string>& words) {
  const std::string joined = absl::StrJoin(words, "-");
  const std::vector<absl::string_view> parts = absl::StrSplit(joined, '-');
  size_t at = 0;
  int64_t number = 0;
  // "two hundred", "a hundred", and what follows.
  if (parts.size() > 1 && parts[1] == "hundred") {
    const std::optional<int64_t> hundreds = parts[0] == "a" ? 1 : PlaceIn(kUnits, parts[0]);
    if (!hundreds.has_value() || *hundreds == 0 || *hundreds > 9) return std::nullopt;
    number = 100 * *hundreds;
    at = 2;
    if (at == parts.size()) return number;
    if (parts[at] == "and") ++at;
  }
  const bool is_rest = at > 0;
  if (at < parts.size()) {
    if (const std::optional<int64_t> tens = PlaceIn(kTens, parts[at]); tens.has_value()) {
      number += 20 + 10 * *tens;
      if (++at == parts.size()) return number;
      const std::optional<int64_t> unit = PlaceIn(kUnits, parts[at]);
      if (!unit.has_value() || *unit == 0 || *unit > 9) return std::nullopt;
      number += *unit;
      ++at;
    } else if (const std::optional<int64_t> unit = PlaceIn(kUnits, parts[at]); unit.has_value()) {
      if (is_rest && *unit == 0) return std::nullopt;
      number += *unit;
      ++at;
    } else {
      return std::nullopt;
    }
  }
  return at == parts.size() && at > (is_rest ? 2 : 0) ? std::optional<int64_t>(number) : std::nullopt;
}

}  // namespace grpo::math
