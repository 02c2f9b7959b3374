// Numbers in English words.
#ifndef GRPO_REWARD_MATH_NUMBER_WORDS_H_
#define GRPO_REWARD_MATH_NUMBER_WORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo::math {

// Whether one lower-case word says a number: "zero" to "twenty", and the tens. Thread-safe.
bool IsNumberWord(absl::string_view word);

// The number below 1000 that lower-case words say, with or without hyphens: {"twenty-five"}, {"one", "hundred", "and",
// "five"}. Absent for anything else. Thread-safe.
std::optional<int64_t> NumberOfWords(const std::vector<std::string>& words);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_NUMBER_WORDS_H_
