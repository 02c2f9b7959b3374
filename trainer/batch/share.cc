#include "trainer/batch/share.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace grpo {
namespace {

// The part that each sequence goes to.
std::vector<int> Assign(const std::vector<TokenStreams>& sequences, int num_ranks) {
  std::vector<size_t> longest_first(sequences.size());
  std::iota(longest_first.begin(), longest_first.end(), 0);
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](size_t a, size_t b) { return sequences[a].ids.size() > sequences[b].ids.size(); });
  std::vector<size_t> num_tokens(static_cast<size_t>(num_ranks));
  std::vector<int> rank_of(sequences.size());
  for (const size_t i : longest_first) {
    const auto least = std::min_element(num_tokens.begin(), num_tokens.end());
    *least += sequences[i].ids.size();
    rank_of[i] = static_cast<int>(least - num_tokens.begin());
  }
  return rank_of;
}

}  // namespace

std::vector<StepBatch> ShareOut(StepBatch batch, int num_ranks) {
  std::vector<StepBatch> parts(static_cast<size_t>(num_ranks));
  for (StepBatch& part : parts) {
    part.iterations = batch.iterations;
    part.minibatches.resize(batch.minibatches.size());
  }
  for (size_t m = 0; m < batch.minibatches.size(); ++m) {
    std::vector<TokenStreams>& sequences = batch.minibatches[m];
    const std::vector<int> rank_of = Assign(sequences, num_ranks);
    for (size_t i = 0; i < sequences.size(); ++i) {
      parts[rank_of[i]].minibatches[m].push_back(std::move(sequences[i]));
    }
  }
  parts[0].metrics = std::move(batch.metrics);
  return parts;
}

}  // namespace grpo
