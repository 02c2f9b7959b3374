// The figures of stages' reports: which are shown, what they are called, and how a value is written. Pure; any thread.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_FIGURES_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_FIGURES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "trainer/stage/report.h"
#include "trainer/stage/view.h"

namespace grpo {

struct FigureInterval {
  double low = 0, high = 0;
};
// A value, and its 95 % confidence interval where one is known.
struct Figure {
  double value = 0;
  std::optional<FigureInterval> interval = {};
};

// Of a metric of the report, by the names of metrics.jsonl; nullopt where there is none or it is not finite.
std::optional<Figure> FigureOf(const StageReport& stage, const std::string& metric);

// "pass@1" for pass_at_1, "format rate" for format_rate. Printable.
std::string FigureTitle(absl::string_view metric);
// In the metric's unit: "93.7 % (91.2 to 95.8)", "642.5 KiB", "164,480".
std::string FigureText(const std::string& metric, const Figure& figure);

// b - a. Where both have intervals, by both (the score method of Newcombe, Statistics in Medicine 17 (1998), method 10,
// for any two intervals): right for independent samples, too wide where both measured the same problems.
Figure Difference(const Figure& a, const Figure& b);
// "+3.2 points (-1.0 to +7.4)", "-12.5".
std::string DifferenceText(const std::string& metric, const Figure& difference);

// The metrics that have a row in the table of these stages, in the rows' order.
std::vector<std::string> MetricsShown(const StageTable& table, const std::vector<const StageReport*>& stages);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_FIGURES_H_
