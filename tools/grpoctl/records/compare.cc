#include "tools/grpoctl/records/compare.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/records/bill.h"
#include "tools/grpoctl/text.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

bool Same(const StageReport& a, const StageReport& b) {
  return a.name == b.name && a.policy == b.policy;
}

const StageReport* FindSame(const StageReport& stage, const RunSummary& run) {
  const auto found =
      std::find_if(run.stages.begin(), run.stages.end(), [&](const StageReport& other) { return Same(stage, other); });
  return found == run.stages.end() ? nullptr : &*found;
}

std::vector<std::string> Missing(const RunSummary& run, const RunSummary& other) {
  std::vector<std::string> missing;
  for (const StageReport& stage : run.stages) {
    if (FindSame(stage, other) == nullptr)
      missing.push_back(Printable(absl::StrCat(stage.name, " (", stage.policy, ")")));
  }
  return missing;
}

// What beside its metrics is compared of a stage, in order; 0 for what is not known.
std::vector<std::pair<const char*, double>> Costs(const StageReport& stage, const RunSummary& run) {
  std::vector<std::pair<const char*, double>> costs = {
      {"seconds", stage.seconds}, {"tokens", stage.tokens}, {"usd", stage.usd}};
  if (StageViewOf(stage.type).table.by_policy) {
    const MakingCost making = CostOf(stage, run.stages);
    costs.insert(costs.end(),
                 {{"making_seconds", making.seconds}, {"making_tokens", making.tokens}, {"making_usd", making.usd}});
  }
  return costs;
}

void Add(ComparedFigure figure, RunComparison* comparison) {
  if (!figure.a && !figure.b) return;
  if (figure.a && figure.b) figure.difference = Difference(*figure.a, *figure.b);
  comparison->figures.push_back(std::move(figure));
}

void CompareStages(const StageReport& a, const StageReport& b, const RunSummary& run_a, const RunSummary& run_b,
                   RunComparison* comparison) {
  const auto add = [&](const std::string& metric, std::optional<Figure> of_a, std::optional<Figure> of_b) {
    Add({.stage = a.name, .policy = a.policy, .metric = metric, .a = of_a, .b = of_b, .difference = {}}, comparison);
  };
  // A type without a table has nothing but what it took.
  const StageTable& table = StageViewOf(a.type).table;
  if (!table.heading.empty()) {
    for (const std::string& metric : MetricsShown(table, {&a, &b}))
      add(metric, FigureOf(a, metric), FigureOf(b, metric));
  }
  const auto costs_a = Costs(a, run_a), costs_b = Costs(b, run_b);
  const auto known = [](double cost) { return cost > 0 ? std::optional<Figure>(Figure{.value = cost}) : std::nullopt; };
  for (size_t i = 0; i < std::min(costs_a.size(), costs_b.size()); ++i)
    add(costs_a[i].first, known(costs_a[i].second), known(costs_b[i].second));
}

}  // namespace

RunComparison CompareRuns(const RunSummary& a, const RunSummary& b) {
  RunComparison comparison;
  for (const StageReport& stage : a.stages) {
    if (const StageReport* const same = FindSame(stage, b); same != nullptr)
      CompareStages(stage, *same, a, b, &comparison);
  }
  comparison.only_a = Missing(a, b);
  comparison.only_b = Missing(b, a);
  return comparison;
}

namespace {

TableRows RowsOf(const RunComparison& comparison) {
  TableRows rows = {{"stage", "policy", "figure", "A", "B", "B - A"}};
  const ComparedFigure* before = nullptr;
  for (const ComparedFigure& figure : comparison.figures) {
    // A stage is named once.
    const bool first = before == nullptr || before->stage != figure.stage || before->policy != figure.policy;
    const auto shown = [&](const std::optional<Figure>& value) {
      return value ? FigureText(figure.metric, *value) : std::string();
    };
    rows.push_back({first ? Printable(figure.stage) : "", first ? Printable(figure.policy) : "",
                    FigureTitle(figure.metric), shown(figure.a), shown(figure.b),
                    figure.difference ? DifferenceText(figure.metric, *figure.difference) : ""});
    before = &figure;
  }
  return rows;
}

}  // namespace

std::string ComparisonText(const RunComparison& comparison, const std::string& name_a, const std::string& name_b) {
  std::string text = absl::StrCat("A: ", Printable(name_a), "\nB: ", Printable(name_b), "\n\n");
  absl::StrAppend(&text,
                  comparison.figures.empty() ? "No stage is finished in both.\n" : FormatTable(RowsOf(comparison)));
  const bool intervals =
      std::any_of(comparison.figures.begin(), comparison.figures.end(),
                  [](const ComparedFigure& figure) { return figure.difference && figure.difference->interval; });
  if (intervals) {
    text +=
        "\nIn parentheses: 95 % confidence interval; that of a difference is too wide where both measured the same "
        "problems.\n";
  }
  if (!comparison.only_a.empty()) absl::StrAppend(&text, "\nOnly in A: ", absl::StrJoin(comparison.only_a, ", "), "\n");
  if (!comparison.only_b.empty()) absl::StrAppend(&text, "\nOnly in B: ", absl::StrJoin(comparison.only_b, ", "), "\n");
  return text;
}

std::string ComparisonJson(const RunComparison& comparison) {
  ordered_json figures = ordered_json::array();
  for (const ComparedFigure& figure : comparison.figures) {
    ordered_json entry = {{"stage", figure.stage}, {"policy", figure.policy}, {"metric", figure.metric}};
    if (figure.a) entry["a"] = figure.a->value;
    if (figure.b) entry["b"] = figure.b->value;
    if (figure.difference) {
      entry["difference"] = figure.difference->value;
      if (figure.difference->interval) {
        entry["low"] = figure.difference->interval->low;
        entry["high"] = figure.difference->interval->high;
      }
    }
    figures.push_back(std::move(entry));
  }
  const ordered_json document = {{"figures", figures}, {"only_a", comparison.only_a}, {"only_b", comparison.only_b}};
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace grpo
