#include "tools/grpoctl/rewards/rule_check.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/seeds.h"
#include "reward/outcome.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;

constexpr double kLongestSeconds = 2;

std::vector<std::string> Completions(const std::string& answer) {
  std::vector<std::string> texts = {"",
                                    " ",
                                    std::string(1, '\0'),
                                    "\xff\xfe\xc3",
                                    answer,
                                    absl::StrCat("<think>so</think><answer>", answer, "</answer>"),
                                    absl::StrCat("<think>\nso\n</think>\n<answer>\n", answer, "\n</answer>"),
                                    absl::StrCat("The answer is \\boxed{", answer, "}"),
                                    absl::StrCat("#### ", answer),
                                    "<think>so</think><answer>no</answer>"};
  for (const std::string unit : {"<answer>", "\\boxed{", "9", "\xff", " ", "a "}) {
    std::string text;
    while (text.size() < 1 << 20) text += unit;
    texts.push_back(std::move(text));
  }
  const std::vector<std::string> pieces = {"<think>", "</think>", "<answer>", "</answer>", "\n",
                                           " ",       "12",       answer,     "\xff"};
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (int64_t n = rng.Below(10); n > 0; --n) text += rng.Choice(pieces);
    texts.push_back(std::move(text));
  }
  return texts;
}

struct Verdict {
  int64_t num_scored = 0;
  std::string problem;
};

void Judge(const v1::RuleScore& first, const v1::RuleScore& second, Verdict* verdict) {
  if (!verdict->problem.empty()) return;
  if (first.outcome() == v1::OUTCOME_RULE_ERROR || first.outcome() == v1::OUTCOME_DEADLINE) {
    verdict->problem = absl::StrCat(OutcomeName(first.outcome()), ": ", first.decided_by());
  } else if (first.outcome() != second.outcome() || first.value() != second.value()) {
    verdict->problem = absl::StrCat("not deterministic: ", first.value(), " and then ", second.value());
  }
  if (first.outcome() == v1::OUTCOME_SCORED) ++verdict->num_scored;
}

}  // namespace

int64_t CheckRules(const RewardProfile& profile, const v1::Prompt& prompt, std::ostream& out) {
  std::vector<Verdict> verdicts(profile.options().rules.size());
  const std::vector<std::string> texts = Completions(prompt.answer());
  double longest = 0, total = 0;
  for (const std::string& text : texts) {
    // A token for every fourth byte.
    std::vector<uint32_t> ids;
    for (size_t i = 0; i < text.size(); i += 4) ids.push_back(static_cast<unsigned char>(text[i]));
    const RuleInput input{.completion = text, .prompt = prompt, .ids = ids};
    v1::Score scores[2];
    for (v1::Score& score : scores) {
      const auto begin = steady_clock::now();
      std::string unavailable;
      score = profile.ScoreAlone(input, &unavailable);
      profile.FinishGroup({&input, 1}, {&score, 1}, &unavailable);
      const double seconds = std::chrono::duration<double>(steady_clock::now() - begin).count();
      longest = std::max(longest, seconds);
      total += seconds;
      if (!unavailable.empty()) {
        out << "cannot be tested: " << unavailable << "\n";
        return static_cast<int64_t>(verdicts.size());
      }
    }
    for (size_t r = 0; r < verdicts.size(); ++r) {
      Judge(scores[0].rules(static_cast<int>(r)), scores[1].rules(static_cast<int>(r)), &verdicts[r]);
    }
  }
  int64_t num_problems = 0;
  size_t r = 0;
  for (const auto& [name, options] : profile.options().rules) {
    Verdict& verdict = verdicts[r++];
    if (verdict.problem.empty() && verdict.num_scored == 0) verdict.problem = "it scored none of the completions";
    num_problems += verdict.problem.empty() ? 0 : 1;
    out << absl::StreamFormat("%-24s %s, scored %d of %d\n", name,
                              verdict.problem.empty() ? "ok" : "FAILED: " + verdict.problem, verdict.num_scored,
                              texts.size());
  }
  if (longest > kLongestSeconds) {
    ++num_problems;
    out << absl::StreamFormat("FAILED: one completion took %.1f s, at most %.0f s are bearable\n", longest,
                              kLongestSeconds);
  }
  out << absl::StreamFormat("%.3f ms a completion, %.1f ms at most, for all rules together\n",
                            1000 * total / static_cast<double>(2 * texts.size()), 1000 * longest);
  return num_problems;
}

}  // namespace grpo
