// What the losses read: named per-token numbers beside the token ids. A new method adds a stream, not a branch.
#ifndef GRPO_TRAINER_BATCH_STREAMS_H_
#define GRPO_TRAINER_BATCH_STREAMS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace grpo {

// Names of streams. The entry at position t speaks of token t as a target, predicted from the tokens before it.
namespace stream {
// Log-probability when it was sampled.
inline constexpr char kSampleLogprob[] = "sample_logprob";
// Log-probability under the reference policy; filled by the loop when a reference is given.
inline constexpr char kRefLogprob[] = "ref_logprob";
inline constexpr char kAdvantage[] = "advantage";
// Factors of the token's policy-gradient, cross-entropy and KL terms in the step's loss. They hold the reduction: a
// token mean over n tokens is a weight of 1/n each, whatever micro-batch or rank the token ends up in (docs/design.md law
// 4).
inline constexpr char kRlWeight[] = "rl_weight";
inline constexpr char kCeWeight[] = "ce_weight";
inline constexpr char kKlWeight[] = "kl_weight";
}  // namespace stream

// One sequence: its ids and, for the tokens that are trained on, the streams.
struct TokenStreams {
  // [T].
  std::vector<int64_t> ids;
  // [T], true where the token is a target. Position 0 has nothing before it and is never one.
  std::vector<bool> trainable_mask;
  // [T] each. Every sequence of a batch has the same names.
  std::map<std::string, std::vector<float>> streams;
};

// What one step learns from: `iterations` passes over the minibatches, an optimizer update after each.
struct StepBatch {
  std::vector<std::vector<TokenStreams>> minibatches;
  int64_t iterations = 1;
  // What the algorithm knows about the batch (rewards, lengths, ...), under the names of metrics.jsonl.
  std::map<std::string, double> metrics;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_STREAMS_H_
