#include "trainer/algorithm/group_sampling.h"

#include <optional>
#include <utility>

#include "trainer/algorithm/advantage.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/rollout_streams.h"

namespace grpo {

std::vector<Conflict> GroupSampling::Conflicts() const {
  std::vector<Conflict> conflicts;
  if (sampling.temperature == 0) {
    conflicts.push_back({"sampling.temperature", "is 0: every completion of a group would be the same; 1 is usual"});
  }
  if (sampling.top_p < 1) {
    conflicts.push_back({"sampling.top_p", "is below 1, and the loss is of the whole distribution; set it to 1"});
  }
  if (sampling.top_k > 0) {
    conflicts.push_back({"sampling.top_k", "is above 0, and the loss is of the whole distribution; set it to 0"});
  }
  if (sampling.min_p > 0) {
    conflicts.push_back({"sampling.min_p", "is above 0, and the loss is of the whole distribution; set it to 0"});
  }
  if (!sampling.stop.empty()) {
    conflicts.push_back({"sampling.stop",
                         "names stop strings: the policy would learn from text that no end token of its own ends; "
                         "leave it out"});
  }
  return conflicts;
}

void GroupSampling::AppendGroup(const ScoredGroup& group, int64_t number, std::vector<TokenStreams>& sequences) const {
  std::vector<std::optional<double>> rewards_of_group;
  for (const v1::ScoredCompletion& scored : group.completions) {
    rewards_of_group.push_back(scored.score().excluded() ? std::nullopt : std::make_optional(scored.score().value()));
  }
  const std::vector<double> advantages =
      GroupAdvantages(rewards_of_group, scale_rewards == "group" ? std::make_optional(std_eps) : std::nullopt);
  std::vector<TokenStreams> of_group = RolloutStreams(group, number);
  for (size_t i = 0; i < of_group.size(); ++i) {
    FillStream(stream::kAdvantage, advantages[i], &of_group[i]);
    sequences.push_back(std::move(of_group[i]));
  }
}

}  // namespace grpo
