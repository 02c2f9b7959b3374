// The likeliest tokens of a distribution, at each token of a text.
#ifndef GRPO_TRAINER_STAGE_TOP_K_H_
#define GRPO_TRAINER_STAGE_TOP_K_H_

#include <cstdint>
#include <vector>

namespace grpo {

// Of T tokens. Plain data.
struct TopK {
  // The K likeliest ids at each token given those before it, the likeliest first, and their log-probabilities, natural
  // logarithm: [T * K] each, token by token.
  std::vector<uint32_t> ids;
  std::vector<float> logprobs;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TOP_K_H_
