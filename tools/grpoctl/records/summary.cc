#include "tools/grpoctl/records/summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/text.h"
#include "trainer/records/metrics.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kLowSuffix[] = "_ci_low";
constexpr char kHighSuffix[] = "_ci_high";

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool MatchesOne(const std::vector<MetricPattern>& patterns, const std::string& metric) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const MetricPattern& pattern) { return MatchMetric(pattern, metric).has_value(); });
}

// "pass@1" for pass_at_1, "format rate" for format_rate.
std::string ShowName(absl::string_view metric) {
  return Printable(absl::StrReplaceAll(metric, {{"_at_", "@"}, {"_", " "}, {"/", ": "}}));
}

bool HasInterval(const StageReport& stage) {
  return std::any_of(stage.metrics.begin(), stage.metrics.end(),
                     [](const auto& metric) { return absl::EndsWith(metric.first, kLowSuffix); });
}

std::string Cell(const StageTable& table, const StageReport& stage, const std::string& metric) {
  const auto value = stage.metrics.find(metric);
  if (value == stage.metrics.end() || !std::isfinite(value->second)) return "";
  const MetricInfo* info = FindMetric(metric);
  const bool percent = info != nullptr && info->unit == MetricUnit::kFraction;
  const double scale = percent ? 100 : 1;
  const std::string shown = percent ? absl::StrFormat("%.1f %%", scale * value->second) : FormatNumber(value->second);
  const auto low = stage.metrics.find(metric + kLowSuffix), high = stage.metrics.find(metric + kHighSuffix);
  if (low == stage.metrics.end() || high == stage.metrics.end()) return shown;
  return absl::StrFormat("%s (%.1f to %.1f)", shown, scale * low->second, scale * high->second);
}

// Those that have run.
std::vector<const StageReport*> StagesOf(const std::string& type, const std::vector<StageReport>& stages) {
  std::vector<const StageReport*> found;
  for (const StageReport& stage : stages) {
    if (stage.type == type && stage.left_out.empty()) found.push_back(&stage);
  }
  return found;
}

// Of the policy that was measured, over all stages before that trained it and the stages that wrote what they read:
// what a student's or a teacher's score has cost. `measured` is one of `stages`.
double TrainingSeconds(const StageReport& measured, const std::vector<StageReport>& stages) {
  double seconds = 0;
  std::set<std::string> artifacts;
  for (const StageReport& stage : stages) {
    if (&stage == &measured) break;
    if (stage.policy != measured.policy || !StageViewOf(stage.type).trains_policy) continue;
    seconds += stage.seconds;
    for (const absl::string_view artifact : absl::StrSplit(stage.data_artifact, ' ', absl::SkipEmpty()))
      artifacts.insert(std::string(artifact));
  }
  for (const StageReport& stage : stages) {
    if (!stage.artifact.empty() && artifacts.count(stage.artifact) > 0) seconds += stage.seconds;
  }
  return seconds;
}

// The metrics that have a row, in the rows' order.
std::vector<std::string> MetricsIn(const StageTable& table, const std::vector<const StageReport*>& stages) {
  std::set<std::string> rest;
  for (const StageReport* stage : stages) {
    for (const auto& [metric, value] : stage->metrics) {
      const bool interval = absl::EndsWith(metric, kLowSuffix) || absl::EndsWith(metric, kHighSuffix);
      const bool shown = table.details || !absl::StrContains(metric, '/');
      if (!interval && shown && !MatchesOne(table.hidden, metric)) rest.insert(metric);
    }
  }
  std::vector<std::string> metrics;
  for (const std::string& metric : table.leading) {
    if (rest.erase(metric) > 0) metrics.push_back(metric);
  }
  metrics.insert(metrics.end(), rest.begin(), rest.end());
  return metrics;
}

// Empty where there is nothing to show.
TableRows RowsOf(const StageTable& table, const std::vector<const StageReport*>& stages,
                 const std::vector<StageReport>& all_stages) {
  const std::vector<std::string> metrics = MetricsIn(table, stages);
  if (metrics.empty()) return {};
  TableRows rows = {{table.heading}};
  for (const StageReport* stage : stages) rows[0].push_back(ColumnHeading(*stage, all_stages));
  for (const std::string& metric : metrics) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(ShowName(metric));
    for (const StageReport* stage : stages) row.push_back(Cell(table, *stage, metric));
  }
  if (!table.by_policy) return rows;
  std::vector<std::string>& training = rows.emplace_back();
  training.push_back("training seconds");
  for (const StageReport* stage : stages) {
    const double seconds = TrainingSeconds(*stage, all_stages);
    training.push_back(seconds > 0 ? absl::StrFormat("%.1f", seconds) : "");
  }
  return rows;
}

// What stands behind the repeat's and the round's in a stage's name.
std::string NameInRound(const StageReport& stage) {
  const std::string before = absl::StrCat(stage.repeat, ".", stage.round, ".");
  return Printable(absl::StartsWith(stage.name, before) ? stage.name.substr(before.size()) : stage.name);
}

// One row a round, one column for each metric that a round's row has (StageTable::of_round); the seconds of a round are
// those of all its stages, and the last column says why a round was left out.
SummaryTable RoundsTable(const std::string& repeat, const std::vector<StageReport>& stages) {
  std::vector<std::string> headings;
  std::map<int64_t, std::map<std::string, std::string>> cells;
  std::map<int64_t, double> seconds;
  std::map<int64_t, std::string> left_out;
  bool intervals = false;
  for (const StageReport& stage : stages) {
    if (stage.repeat != repeat) continue;
    seconds[stage.round] += stage.seconds;
    if (!stage.left_out.empty()) left_out[stage.round] = Printable(stage.left_out);
    const StageTable& table = StageViewOf(stage.type).table;
    for (const std::string& metric : table.of_round) {
      const std::string heading = absl::StrCat(NameInRound(stage), ": ", ShowName(metric));
      const std::string cell = Cell(table, stage, metric);
      if (cell.empty()) continue;
      if (std::count(headings.begin(), headings.end(), heading) == 0) headings.push_back(heading);
      cells[stage.round][heading] = cell;
      intervals = intervals || HasInterval(stage);
    }
  }
  SummaryTable table{.type = "", .title = absl::StrCat("Rounds of ", Printable(repeat)), .rows = {{"round"}}};
  table.intervals = intervals;
  table.rows[0].insert(table.rows[0].end(), headings.begin(), headings.end());
  table.rows[0].push_back("seconds");
  if (!left_out.empty()) table.rows[0].push_back("left out");
  for (const auto& [round, of_round] : seconds) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row.push_back(absl::StrCat(round));
    for (const std::string& heading : headings) row.push_back(cells[round][heading]);
    row.push_back(left_out.count(round) > 0 ? "" : absl::StrFormat("%.1f", of_round));
    if (!left_out.empty()) row.push_back(left_out[round]);
  }
  return table;
}

}  // namespace

absl::StatusOr<RunSummary> ParseSummary(absl::string_view summary_json) {
  const json document = json::parse(summary_json.begin(), summary_json.end(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("stages") || !document["stages"].is_array()) {
    return absl::DataLossError("summary.json is no object with a list \"stages\"");
  }
  RunSummary summary;
  if (const auto run = document.find("run"); run != document.end() && run->is_object()) {
    summary.name = TextOf(*run, "name");
    summary.id = TextOf(*run, "id");
    if (run->contains("seed") && run->at("seed").is_number_integer()) summary.seed = run->at("seed").get<int64_t>();
  }
  ASSIGN_OR_RETURN(summary.stages, StageReportsFromJson(document["stages"], "summary.json"));
  return summary;
}

std::string ColumnHeading(const StageReport& stage, const std::vector<StageReport>& stages) {
  if (!StageViewOf(stage.type).table.by_policy || stage.policy.empty()) return Printable(stage.name);
  int num_same = 0;
  for (const StageReport* other : StagesOf(stage.type, stages)) num_same += other->policy == stage.policy ? 1 : 0;
  return Printable(num_same == 1 ? stage.policy : stage.name);
}

std::vector<SummaryTable> SummaryTables(const std::vector<StageReport>& stages) {
  std::vector<SummaryTable> tables;
  for (const auto& [type, plugin] : Stages().entries()) {
    if (plugin.view.table.heading.empty()) continue;
    TableRows rows = RowsOf(plugin.view.table, StagesOf(type, stages), stages);
    if (rows.empty()) continue;
    const bool intervals = std::any_of(stages.begin(), stages.end(), [&type = type](const StageReport& stage) {
      return stage.type == type && HasInterval(stage);
    });
    tables.push_back({.type = type, .title = plugin.view.table.title, .rows = std::move(rows), .intervals = intervals});
  }
  std::vector<std::string> repeats;
  for (const StageReport& stage : stages) {
    if (!stage.repeat.empty() && (repeats.empty() || repeats.back() != stage.repeat)) repeats.push_back(stage.repeat);
  }
  for (const std::string& repeat : repeats) tables.push_back(RoundsTable(repeat, stages));
  return tables;
}

TableRows StageSecondsRows(const std::vector<StageReport>& stages) {
  TableRows rows = {{"stage", "type", "seconds"}};
  double total = 0;
  for (const StageReport& stage : stages) {
    rows.push_back({Printable(stage.name), Printable(stage.type),
                    stage.left_out.empty() ? absl::StrFormat("%.1f", stage.seconds) : "left out"});
    total += stage.seconds;
  }
  rows.push_back({"all", "", absl::StrFormat("%.1f", total)});
  return rows;
}

}  // namespace grpo
