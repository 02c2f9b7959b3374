// What a score must be, whoever sends it: a worker, a reward server, one that a rule asks (`remote`).
#ifndef GRPO_REWARD_SCORE_CHECK_H_
#define GRPO_REWARD_SCORE_CHECK_H_

#include "absl/status/status.h"
#include "proto/types.pb.h"

namespace grpo {

// Values and weights are within +-kMaxScore: the widest that a profile's clip_min and clip_max may be
// (reward/options.h). What is larger would be lost in the sums of float32.
inline constexpr double kMaxScore = 1e9;

// InvalidArgument that names the field ("score.rules[1].outcome") and its value, unless
//   score and rules have an outcome that this build knows;
//   values and weights are finite and within +-kMaxScore;
//   the score is excluded where the outcome says that we failed it (docs/design.md law 1: never a silent zero);
//   there are at most 256 rules, with names of 1 to 256 bytes without control characters.
// Pure.
absl::Status CheckScore(const v1::Score& score);

}  // namespace grpo

#endif  // GRPO_REWARD_SCORE_CHECK_H_
