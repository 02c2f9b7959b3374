#include "trainer/batch/share.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "trainer/batch/shared_prefix.h"

namespace grpo {
namespace {

size_t OwnTokens(const TokenStreams& sequence, const SharedRun& run) {
  return sequence.ids.size() - static_cast<size_t>(run.num_shared);
}

// Whole runs: the longest first, each to the part that has least. The part that each sequence goes to.
std::vector<size_t> AssignRuns(const std::vector<TokenStreams>& sequences, const std::vector<SharedRun>& runs,
                               size_t num_parts) {
  std::vector<size_t> size_of(runs.size()), longest_first(runs.size()), num_tokens(num_parts);
  for (size_t i = 0; i < runs.size(); ++i) {
    size_of[i] = static_cast<size_t>(runs[i].num_shared);
    for (size_t j = runs[i].first; j < runs[i].end; ++j) size_of[i] += OwnTokens(sequences[j], runs[i]);
  }
  std::iota(longest_first.begin(), longest_first.end(), 0);
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](size_t a, size_t b) { return size_of[a] > size_of[b]; });
  std::vector<size_t> part_of(sequences.size());
  for (const size_t i : longest_first) {
    const auto least = std::min_element(num_tokens.begin(), num_tokens.end());
    *least += size_of[i];
    std::fill_n(part_of.begin() + static_cast<int64_t>(runs[i].first), runs[i].end - runs[i].first,
                least - num_tokens.begin());
  }
  return part_of;
}

// Tokens that each part computes: what a run shares once in each part that has some of it.
std::vector<size_t> CountTokens(const std::vector<TokenStreams>& sequences, const std::vector<SharedRun>& runs,
                                const std::vector<size_t>& part_of, size_t num_parts) {
  std::vector<size_t> num_tokens(num_parts);
  for (const SharedRun& run : runs) {
    std::vector<bool> has_prefix(num_parts);
    for (size_t j = run.first; j < run.end; ++j) {
      const size_t part = part_of[j];
      num_tokens[part] += OwnTokens(sequences[j], run) + (has_prefix[part] ? 0 : static_cast<size_t>(run.num_shared));
      has_prefix[part] = true;
    }
  }
  return num_tokens;
}

// Takes runs apart while a part has more than another by over the longest sequence: the last sequence of the part that
// has most goes to the one that has least.
void Balance(const std::vector<TokenStreams>& sequences, const std::vector<SharedRun>& runs, size_t num_parts,
             std::vector<size_t>& part_of) {
  size_t longest = 0;
  for (const TokenStreams& sequence : sequences) longest = std::max(longest, sequence.ids.size());
  // As many moves as there are sequences are always enough, and end it in any case.
  for (size_t moves = 0; moves < sequences.size(); ++moves) {
    const std::vector<size_t> num_tokens = CountTokens(sequences, runs, part_of, num_parts);
    const auto [least, most] = std::minmax_element(num_tokens.begin(), num_tokens.end());
    if (*most - *least <= longest) return;
    const auto last = std::find(part_of.rbegin(), part_of.rend(), static_cast<size_t>(most - num_tokens.begin()));
    *last = static_cast<size_t>(least - num_tokens.begin());
  }
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
    const std::vector<SharedRun> runs = SharedRuns(sequences);
    std::vector<size_t> part_of = AssignRuns(sequences, runs, parts.size());
    Balance(sequences, runs, parts.size(), part_of);
    for (size_t i = 0; i < sequences.size(); ++i) {
      parts[part_of[i]].minibatches[m].push_back(std::move(sequences[i]));
    }
  }
  parts[0].metrics = std::move(batch.metrics);
  return parts;
}

}  // namespace grpo
