#include "reward/vote.h"

#include <algorithm>
#include <map>

#include "reward/math/equal.h"

namespace grpo {
namespace {

// Comparisons of one answer at most; each takes up to a tenth of a second, hardly ever more than a tenth of a
// millisecond.
constexpr size_t kMaxParties = 64;

}  // namespace

Vote CountVotes(const std::vector<std::string>& answers) {
  Vote vote;
  // By text, and in the order in which they came up.
  std::map<std::string, int64_t> party_of_text;
  std::vector<int64_t> parties;
  std::map<int64_t, int64_t> votes;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].empty()) {
      vote.party.push_back(-1);
      continue;
    }
    const auto [known, is_new] = party_of_text.emplace(answers[i], static_cast<int64_t>(i));
    if (is_new) {
      const auto last = parties.begin() + static_cast<int64_t>(std::min(parties.size(), kMaxParties));
      const auto equal = std::find_if(parties.begin(), last, [&](int64_t party) {
        return math::Equal(answers[static_cast<size_t>(party)], answers[i]).equal.value_or(false);
      });
      if (equal != last) known->second = *equal;
      if (equal == last) parties.push_back(static_cast<int64_t>(i));
    }
    vote.party.push_back(known->second);
    ++votes[known->second];
  }
  for (const int64_t party : parties) {
    const int64_t count = votes[party];
    if (count > vote.num_votes) {
      vote.num_runner_up = vote.num_votes;
      vote.num_votes = count;
      vote.winner = party;
    } else {
      vote.num_runner_up = std::max(vote.num_runner_up, count);
    }
  }
  return vote;
}

}  // namespace grpo
