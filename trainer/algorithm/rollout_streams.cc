#include "trainer/algorithm/rollout_streams.h"

namespace grpo {
namespace {

// The tokens of a completion that the loss may read.
std::vector<bool> TrainableTokens(const v1::Completion& completion) {
  std::vector<bool> trainable;
  for (const v1::Span& span : completion.spans())
    trainable.insert(trainable.end(), span.num_tokens(), span.trainable());
  return trainable;
}

TokenStreams ToStreams(const ScoredGroup& group, const v1::ScoredCompletion& scored) {
  const v1::Completion& completion = scored.completion();
  const size_t prompt_tokens = group.prompt_ids.size();
  TokenStreams sequence;
  sequence.ids.assign(group.prompt_ids.begin(), group.prompt_ids.end());
  sequence.ids.insert(sequence.ids.end(), completion.ids().begin(), completion.ids().end());
  const size_t size = sequence.ids.size();
  sequence.trainable_mask.assign(prompt_tokens, false);
  if (!scored.score().excluded()) {
    const std::vector<bool> trainable = TrainableTokens(completion);
    sequence.trainable_mask.insert(sequence.trainable_mask.end(), trainable.begin(), trainable.end());
  }
  sequence.trainable_mask.resize(size, false);
  std::vector<float>& sample_logprob = sequence.streams[stream::kSampleLogprob].floats();
  sample_logprob.assign(prompt_tokens, 0.0f);
  sample_logprob.insert(sample_logprob.end(), completion.sample_logprob().begin(), completion.sample_logprob().end());
  return sequence;
}

}  // namespace

std::vector<TokenStreams> RolloutStreams(const ScoredGroup& group, int64_t number) {
  std::vector<TokenStreams> sequences;
  for (const v1::ScoredCompletion& scored : group.completions) {
    sequences.push_back(ToStreams(group, scored));
    sequences.back().group = number;
  }
  return sequences;
}

}  // namespace grpo
