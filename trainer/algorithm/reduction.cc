#include "trainer/algorithm/reduction.h"

#include <algorithm>
#include <utility>

#include "trainer/records/metrics.h"

namespace grpo {

int64_t NumTargets(const TokenStreams& sequence) {
  return std::count(sequence.trainable_mask.begin(), sequence.trainable_mask.end(), true);
}

std::vector<double> TargetWeights(const std::vector<TokenStreams>& sequences, const std::string& loss_reduction) {
  int64_t num_tokens = 0, num_sequences = 0;
  for (const TokenStreams& sequence : sequences) {
    num_tokens += NumTargets(sequence);
    num_sequences += NumTargets(sequence) > 0;
  }
  std::vector<double> weights;
  for (const TokenStreams& sequence : sequences) {
    const double denominator = loss_reduction == "token_mean"
                                   ? static_cast<double>(num_tokens)
                                   : static_cast<double>(num_sequences) * static_cast<double>(NumTargets(sequence));
    weights.push_back(denominator > 0 ? 1.0 / denominator : 0.0);
  }
  return weights;
}

void FillStream(const std::string& name, double value, TokenStreams* sequence) {
  sequence->streams[name] = std::vector<float>(sequence->ids.size(), static_cast<float>(value));
}

StepBatch CrossEntropyBatch(std::vector<TokenStreams> sequences, const std::string& loss_reduction) {
  const std::vector<double> weights = TargetWeights(sequences, loss_reduction);
  StepBatch batch;
  double num_tokens = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    FillStream(stream::kCeWeight, weights[i], &sequences[i]);
    sequences[i].group = static_cast<int64_t>(i);
    num_tokens += static_cast<double>(NumTargets(sequences[i]));
  }
  batch.metrics[metric::kNumTokens] = num_tokens;
  batch.minibatches.push_back(std::move(sequences));
  return batch;
}

}  // namespace grpo
