// Group-relative advantages. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_ADVANTAGE_H_
#define GRPO_TRAINER_ALGORITHM_ADVANTAGE_H_

#include <optional>
#include <vector>

namespace grpo {

// A_i = R_i - mean(R), arXiv:2402.03300 section 4.1.2; with std_eps also divided by the standard deviation (ddof 1, as
// TRL; the paper does not say) plus std_eps. A reward that is absent is left out of mean and deviation and gets
// advantage 0. With fewer than two rewards, and for equal rewards, every advantage is 0. Returns one for each reward,
// in order. std_eps is at least 0; nullopt gives the advantage of Dr. GRPO (arXiv:2503.20783). Pure.
std::vector<double> GroupAdvantages(const std::vector<std::optional<double>>& rewards, std::optional<double> std_eps);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ADVANTAGE_H_
