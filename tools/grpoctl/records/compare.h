// Two runs side by side: the same stages of the same policies, figure by figure. Pure; any thread.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_COMPARE_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_COMPARE_H_

#include <optional>
#include <string>
#include <vector>

#include "tools/grpoctl/records/figures.h"
#include "tools/grpoctl/records/summary.h"

namespace grpo {

// A figure of a stage that both runs have finished.
struct ComparedFigure {
  std::string stage, policy;
  // Of metrics.jsonl, or "seconds", "tokens", "usd" (of the stage), "making_seconds", "making_tokens", "making_usd" (of
  // the policy that it measured, bill.h).
  std::string metric;
  std::optional<Figure> a, b;
  // b - a; absent where one of them is.
  std::optional<Figure> difference;
};

struct RunComparison {
  // In the order of the first run's stages, and of a stage's rows in its run's own table.
  std::vector<ComparedFigure> figures;
  // "stage (policy)" of those that only one run has finished.
  std::vector<std::string> only_a, only_b;
};

// Stages are the same where name and policy are. What neither has is left out; 0 seconds, tokens or dollars are
// not known.
RunComparison CompareRuns(const RunSummary& a, const RunSummary& b);

// For people; `name_a` and `name_b` are what they call the runs.
std::string ComparisonText(const RunComparison& comparison, const std::string& name_a, const std::string& name_b);
// {"figures": [{"stage", "policy", "metric", "a", "b", "difference", "low", "high"}], "only_a", "only_b"}: absent
// numbers are left out, and low and high are the ends of the difference's interval. Ends in a newline.
std::string ComparisonJson(const RunComparison& comparison);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_COMPARE_H_
