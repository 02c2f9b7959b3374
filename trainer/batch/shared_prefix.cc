#include "trainer/batch/shared_prefix.h"

#include <algorithm>

namespace grpo {
namespace {

// Ids before the first target.
int64_t PromptSize(const TokenStreams& sequence) {
  const auto target = std::find(sequence.trainable_mask.begin(), sequence.trainable_mask.end(), true);
  return target - sequence.trainable_mask.begin();
}

int64_t CommonIds(const TokenStreams& a, const TokenStreams& b, int64_t most) {
  const int64_t size = std::min({most, static_cast<int64_t>(a.ids.size()), static_cast<int64_t>(b.ids.size())});
  return std::mismatch(a.ids.begin(), a.ids.begin() + size, b.ids.begin()).first - a.ids.begin();
}

}  // namespace

std::vector<SharedRun> SharedRuns(const std::vector<TokenStreams>& sequences) {
  std::vector<SharedRun> runs;
  for (size_t i = 0; i < sequences.size(); i = runs.back().end) {
    const TokenStreams& first = sequences[i];
    SharedRun run = {.first = i, .end = i + 1};
    int64_t common = PromptSize(first);
    for (size_t j = i + 1; j < sequences.size() && sequences[j].group == first.group; ++j) {
      common = CommonIds(first, sequences[j], std::min(common, PromptSize(sequences[j])));
      if (common == 0) break;
      run.end = j + 1;
      run.num_shared = common;
    }
    runs.push_back(run);
  }
  return runs;
}

}  // namespace grpo
