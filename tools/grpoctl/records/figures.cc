#include "tools/grpoctl/records/figures.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tools/grpoctl/text.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

constexpr char kLowSuffix[] = "_ci_low";
constexpr char kHighSuffix[] = "_ci_high";

bool MatchesOne(const std::vector<MetricPattern>& patterns, const std::string& metric) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const MetricPattern& pattern) { return MatchMetric(pattern, metric).has_value(); });
}

std::optional<MetricUnit> UnitOf(const std::string& metric) {
  const MetricInfo* const info = FindMetric(metric);
  return info == nullptr ? std::nullopt : std::optional<MetricUnit>(info->unit);
}

// Moves those of `names` that are in `rest` to the end of `metrics`, in their order.
void Take(const std::vector<std::string>& names, std::set<std::string>* rest, std::vector<std::string>* metrics) {
  for (const std::string& name : names) {
    if (rest->erase(name) > 0) metrics->push_back(name);
  }
}

}  // namespace

std::optional<Figure> FigureOf(const StageReport& stage, const std::string& metric) {
  const auto value = stage.metrics.find(metric);
  if (value == stage.metrics.end() || !std::isfinite(value->second)) return std::nullopt;
  Figure figure{.value = value->second};
  const auto low = stage.metrics.find(metric + kLowSuffix), high = stage.metrics.find(metric + kHighSuffix);
  if (low != stage.metrics.end() && high != stage.metrics.end() && std::isfinite(low->second) &&
      std::isfinite(high->second))
    figure.interval = FigureInterval{.low = low->second, .high = high->second};
  return figure;
}

std::string FigureTitle(absl::string_view metric) {
  return Printable(absl::StrReplaceAll(metric, {{"_at_", "@"}, {"_", " "}, {"/", ": "}}));
}

std::string FigureText(const std::string& metric, const Figure& figure) {
  const std::optional<MetricUnit> unit = UnitOf(metric);
  const bool percent = unit == MetricUnit::kFraction;
  const double scale = percent ? 100 : 1;
  const std::string shown = percent                      ? absl::StrFormat("%.1f %%", scale * figure.value)
                            : unit == MetricUnit::kBytes ? FormatBytes(figure.value)
                                                         : FormatNumber(figure.value);
  if (!figure.interval) return shown;
  return absl::StrFormat("%s (%.1f to %.1f)", shown, scale * figure.interval->low, scale * figure.interval->high);
}

Figure Difference(const Figure& a, const Figure& b) {
  Figure difference{.value = b.value - a.value};
  if (a.interval && b.interval) {
    difference.interval =
        FigureInterval{.low = difference.value - std::hypot(b.value - b.interval->low, a.interval->high - a.value),
                       .high = difference.value + std::hypot(b.interval->high - b.value, a.value - a.interval->low)};
  }
  return difference;
}

std::string DifferenceText(const std::string& metric, const Figure& difference) {
  const std::optional<MetricUnit> unit = UnitOf(metric);
  const bool percent = unit == MetricUnit::kFraction;
  const double scale = percent ? 100 : 1;
  const std::string size =
      unit == MetricUnit::kBytes ? FormatBytes(std::abs(difference.value)) : FormatNumber(std::abs(difference.value));
  const std::string shown = percent                 ? absl::StrFormat("%+.1f points", scale * difference.value)
                            : difference.value == 0 ? "0"
                                                    : absl::StrCat(difference.value < 0 ? "-" : "+", size);
  if (!difference.interval) return shown;
  return absl::StrFormat("%s (%+.1f to %+.1f)", shown, scale * difference.interval->low,
                         scale * difference.interval->high);
}

std::vector<std::string> MetricsShown(const StageTable& table, const std::vector<const StageReport*>& stages) {
  std::set<std::string> rest;
  for (const StageReport* stage : stages) {
    for (const auto& [metric, value] : stage->metrics) {
      const bool interval = absl::EndsWith(metric, kLowSuffix) || absl::EndsWith(metric, kHighSuffix);
      const bool shown = table.details || !absl::StrContains(metric, '/') || MatchesOne(table.leading, metric) ||
                         MatchesOne(table.trailing, metric);
      if (!interval && shown && !MatchesOne(table.hidden, metric)) rest.insert(metric);
    }
  }
  std::vector<std::string> metrics, last;
  Take(table.leading, &rest, &metrics);
  Take(table.trailing, &rest, &last);
  metrics.insert(metrics.end(), rest.begin(), rest.end());
  metrics.insert(metrics.end(), last.begin(), last.end());
  return metrics;
}

}  // namespace grpo
