// Answers of several samples of one problem, put to a vote: equal ones count together, as the rules compare them
// (reward/math/equal.h).
#ifndef GRPO_REWARD_VOTE_H_
#define GRPO_REWARD_VOTE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace grpo {

struct Vote {
  // For each answer the position of the first one that it is equal to, itself if there is none before; -1 for an empty
  // one, which has no vote.
  std::vector<int64_t> party;
  // The party with the most votes, of equally large ones the first sampled; -1 when nobody votes.
  int64_t winner = -1;
  // Of the winner, and of the largest other party.
  int64_t num_votes = 0, num_runner_up = 0;

  bool IsWinner(int64_t i) const { return winner >= 0 && party[static_cast<size_t>(i)] == winner; }
};

// Equal texts are equal; others are where the comparison is decided and says so. Beyond 64 parties an answer is only
// compared as text, which bounds the time. Deterministic; any thread.
Vote CountVotes(const std::vector<std::string>& answers);

}  // namespace grpo

#endif  // GRPO_REWARD_VOTE_H_
