// How much a text repeats itself: 1 - distinct n-grams / n-grams (arXiv:2502.03373 appendix C.2). Pure; any thread.
#ifndef GRPO_REWARD_REPETITION_H_
#define GRPO_REWARD_REPETITION_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grpo {

// Each word as a number, equal for equal words of this text. Words are told apart by ASCII blanks and lower-cased in
// ASCII; Python knows Unicode's.
std::vector<uint32_t> WordIds(absl::string_view text);

// The share of the n-grams that are not the first of their kind, in [0, 1); 0 for fewer than n units. n is at least 1.
double RepeatedFrac(absl::Span<const uint32_t> units, int64_t n);

}  // namespace grpo

#endif  // GRPO_REWARD_REPETITION_H_
