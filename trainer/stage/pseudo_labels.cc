#include "trainer/stage/pseudo_labels.h"

#include <cstdint>

#include "reward/vote.h"

namespace grpo {

PseudoLabel LabelByMajority(const std::vector<std::string>& answers, const PseudoLabelOptions& options) {
  const Vote vote = CountVotes(answers);
  PseudoLabel label;
  for (size_t i = 0; i < answers.size(); ++i) label.is_majority.push_back(vote.IsWinner(static_cast<int64_t>(i)));
  if (vote.winner < 0) return label;
  const auto num_samples = static_cast<double>(answers.size());
  label.answer = answers[static_cast<size_t>(vote.winner)];
  label.share = static_cast<double>(vote.num_votes) / num_samples;
  label.margin = static_cast<double>(vote.num_votes - vote.num_runner_up) / num_samples;
  label.is_strong = options.enabled() && label.share >= options.min_share && label.margin >= options.min_margin;
  return label;
}

}  // namespace grpo
