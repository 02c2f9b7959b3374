// What the losses read: named per-token numbers beside the token ids. A new method adds a stream, not a branch. Links
// no torch.
//
//   Algorithm::Prepare --> StepBatch --ShareOut--> a part for each rank --Pack--> micro-batches --> losses
#ifndef GRPO_TRAINER_BATCH_STREAMS_H_
#define GRPO_TRAINER_BATCH_STREAMS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace grpo {

// Names of streams. The entry at position t speaks of token t as a target, predicted from the tokens before it.
namespace stream {
// Log-probability when it was sampled. Natural logarithm; 0 in the prompt, kNotSampled in what others wrote.
inline constexpr char kSampleLogprob[] = "sample_logprob";
// In the place of the log-probability of a token that this policy did not sample: above every log-probability, so that
// exp(policy_logprob - it), the ratio of the two, is 0.
inline constexpr float kNotSampled = 1e4f;
// Log-probability under the reference policy; the loop fills it for an algorithm that names one (FrozenPolicy).
inline constexpr char kRefLogprob[] = "ref_logprob";
// The same under a teacher.
inline constexpr char kTeacherLogprob[] = "teacher_logprob";
// [T, K] each: a teacher's K most likely tokens, the most likely first, and their log-probabilities at temperature 1.
inline constexpr char kTeacherTopIds[] = "teacher_top_ids";
inline constexpr char kTeacherTopLogprob[] = "teacher_top_logprob";
// Of the token's completion; 0 where the completion does not count.
inline constexpr char kAdvantage[] = "advantage";
// Factors of the token's policy-gradient, cross-entropy, KL and distillation terms in the step's loss. They hold the
// reduction: a token mean over n tokens is a weight of 1/n each, whatever micro-batch or rank the token ends up in
// (docs/design.md law 4).
inline constexpr char kRlWeight[] = "rl_weight";
inline constexpr char kCeWeight[] = "ce_weight";
inline constexpr char kKlWeight[] = "kl_weight";
inline constexpr char kDistillWeight[] = "distill_weight";
}  // namespace stream

// One stream of one sequence: for each of T tokens `width` numbers of one type (one a token for a log-probability, K
// ids of a top-k, D of a hidden state). Value semantics.
struct Stream {
  // [T * width], token by token.
  std::variant<std::vector<float>, std::vector<int64_t>> values;
  int64_t width = 1;

  Stream() = default;
  // One value a token is what most streams are: values become a stream by themselves.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Stream(std::vector<float> floats, int64_t width = 1) : values(std::move(floats)), width(width) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Stream(std::vector<int64_t> ints, int64_t width = 1) : values(std::move(ints)), width(width) {}

  bool is_float() const { return values.index() == 0; }
  // For whoever knows the type. Another type is a bug and throws.
  std::vector<float>& floats() { return std::get<0>(values); }
  const std::vector<float>& floats() const { return std::get<0>(values); }
  const std::vector<int64_t>& ints() const { return std::get<1>(values); }
  // Numbers in all: T * width.
  int64_t size() const {
    return std::visit([](const auto& numbers) { return static_cast<int64_t>(numbers.size()); }, values);
  }
  bool operator==(const Stream&) const = default;
};

// One sequence: its ids and, for the tokens that are trained on, the streams.
struct TokenStreams {
  // [T]. At least one.
  std::vector<int64_t> ids;
  // [T], true where the token is a target. Position 0 has nothing before it and is never one.
  std::vector<bool> trainable_mask;
  // T tokens each. Every sequence of a batch has the same names, each of one width and type.
  std::map<std::string, Stream> streams;
  // Which sequences were sampled for one prompt: a number that is theirs alone in the step's batch. A sequence that
  // belongs to no group has a number of its own.
  int64_t group = 0;
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
