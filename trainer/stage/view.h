// How stages of one type show themselves, as data: their line of progress, their table, their curves. grpoctl renders
// it without knowing any of them. Links no torch.
#ifndef GRPO_TRAINER_STAGE_VIEW_H_
#define GRPO_TRAINER_STAGE_VIEW_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

// A metric's name, or a pattern: one * stands for any text.
using MetricPattern = std::string;

// What the pattern's * stands for in `metric` (empty where it has none); nullopt when the metric is another. Only the
// first * of a pattern is one.
inline std::optional<std::string> MatchMetric(absl::string_view pattern, absl::string_view metric) {
  const size_t star = pattern.find('*');
  if (star == absl::string_view::npos) return pattern == metric ? std::optional<std::string>("") : std::nullopt;
  const absl::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  if (metric.size() < before.size() + after.size() || metric.substr(0, before.size()) != before ||
      metric.substr(metric.size() - after.size()) != after) {
    return std::nullopt;
  }
  return std::string(metric.substr(before.size(), metric.size() - before.size() - after.size()));
}

// A field of the line of progress; its value is shown in the metric's unit (trainer/records/metrics.h).
struct ShownMetric {
  MetricPattern metric = {};
  // Stands before the value; a * is what the pattern's stands for.
  std::string label = {};
  // Is not shown beside this metric, which says it better; empty for none.
  std::string unless = {};
};

// Stages of one type side by side, one column each, one row a metric.
struct StageTable {
  // Over the table, where there is more than one: "Evaluations".
  std::string title = {};
  // The first heading: what the rows are. Empty for a type that has no table.
  std::string heading = {};
  // Columns are headed by the policy that was measured (by the stage's name where one was measured twice) in place of
  // the stage's, and the last rows say what it took to make it.
  bool by_policy = false;
  // These come first; the others follow by name; those come last.
  std::vector<std::string> leading = {}, trailing = {};
  // Whether metrics with a / in their names have rows, beside those that lead or trail: where there are many, they would
  // hide what matters.
  bool details = false;
  // Have columns in the table of a repeat's rounds, one row a round.
  std::vector<std::string> of_round = {};
  // Are only in summary.json.
  std::vector<MetricPattern> hidden = {};
  // Whether what the stages sampled first is shown too; Stage::accuracy_rule says which of it is right.
  bool samples = false;
};

// A curve over steps.
struct ChartedMetric {
  MetricPattern metric = {};
  // A * is what the pattern's stands for.
  std::string title = {};
  std::string unit = {};
  // Where a curve has more points than pixels, each shows the largest value of its points, not their mean.
  bool keep_largest = false;
};

// A type's all; the default shows nothing.
struct StageView {
  // What StageStatus.step counts.
  std::string step_unit = "step";
  // Most important first; as many as fit.
  std::vector<ShownMetric> progress;
  StageTable table;
  // In the order of the page.
  std::vector<ChartedMetric> charts;
  // Whether its seconds are what its policy's results have cost.
  bool trains_policy = false;
  // Metrics, of which more is better, that say how good a policy is: what a repeat's `until` may go by.
  std::vector<MetricPattern> measures;
  // Whether what it writes (Stage::writes) is data for stages after it.
  bool writes_data = false;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_VIEW_H_
