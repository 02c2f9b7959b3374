// Counts as people read them.
#ifndef GRPO_COMMON_COUNT_TEXT_H_
#define GRPO_COMMON_COUNT_TEXT_H_

#include <cstdint>
#include <string>

namespace grpo {

// "1,234,567": a comma before each three digits, in every locale. "-1,234" for a negative count.
inline std::string FormatCount(int64_t count) {
  std::string digits = std::to_string(count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

}  // namespace grpo

#endif  // GRPO_COMMON_COUNT_TEXT_H_
