#include "tools/grpoctl/records/summary.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/records/bill.h"
#include "tools/grpoctl/records/figures.h"
#include "tools/grpoctl/text.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Those that have run.
std::vector<const StageReport*> StagesOf(const std::string& type, const std::vector<StageReport>& stages) {
  std::vector<const StageReport*> found;
  for (const StageReport& stage : stages) {
    if (stage.type == type && stage.left_out.empty()) found.push_back(&stage);
  }
  return found;
}

std::string Seconds(double seconds) {
  return seconds > 0 ? absl::StrFormat("%.1f", seconds) : "";
}

// What it took to make the policies: rows with something in them.
void AddCosts(const std::vector<const StageReport*>& stages, const std::vector<StageReport>& all_stages,
              TableRows* rows) {
  std::vector<std::string> seconds = {"seconds to make it"}, with_teachers = {"with its teachers"},
                           tokens = {"tokens to make it"}, usd = {"USD to make it"};
  bool made = false, taught = false, counted = false, paid = false;
  for (const StageReport* stage : stages) {
    const MakingCost cost = CostOf(*stage, all_stages);
    seconds.push_back(Seconds(cost.seconds));
    with_teachers.push_back(Seconds(cost.seconds_with_teachers));
    tokens.push_back(cost.tokens > 0 ? FormatNumber(cost.tokens) : "");
    usd.push_back(cost.usd > 0 ? absl::StrFormat("%.2f", cost.usd) : "");
    made |= cost.seconds > 0;
    taught |= cost.seconds_with_teachers > cost.seconds;
    counted |= cost.tokens > 0;
    paid |= cost.usd > 0;
  }
  if (made) rows->push_back(std::move(seconds));
  if (taught) rows->push_back(std::move(with_teachers));
  if (counted) rows->push_back(std::move(tokens));
  if (paid) rows->push_back(std::move(usd));
}

// Empty where there is nothing to show.
TableRows RowsOf(const StageTable& table, const std::vector<const StageReport*>& stages,
                 const std::vector<StageReport>& all_stages) {
  const std::vector<std::string> metrics = MetricsShown(table, stages);
  if (metrics.empty()) return {};
  TableRows rows = {{table.heading}};
  for (const StageReport* stage : stages) rows[0].push_back(ColumnHeading(*stage, all_stages));
  for (const std::string& metric : metrics) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(FigureTitle(metric));
    for (const StageReport* stage : stages) {
      const std::optional<Figure> figure = FigureOf(*stage, metric);
      row.push_back(figure ? FigureText(metric, *figure) : "");
    }
  }
  if (table.by_policy) AddCosts(stages, all_stages, &rows);
  return rows;
}

bool HasInterval(const StageReport& stage) {
  return std::any_of(stage.metrics.begin(), stage.metrics.end(), [&](const auto& metric) {
    const std::optional<Figure> figure = FigureOf(stage, metric.first);
    return figure && figure->interval;
  });
}

// What stands behind the repeat's and the round's in a stage's name.
std::string NameInRound(const StageReport& stage) {
  const std::string before = absl::StrCat(stage.repeat, ".", stage.round, ".");
  return Printable(absl::StartsWith(stage.name, before) ? stage.name.substr(before.size()) : stage.name);
}

// What the stages of a repeat's rounds came to.
struct Rounds {
  // Of the columns, in the order in which they first come.
  std::vector<std::string> headings;
  // By round: by heading, of all its stages, and why it was left out.
  std::map<int64_t, std::map<std::string, std::string>> cells;
  std::map<int64_t, double> seconds;
  std::map<int64_t, std::string> left_out;
  bool intervals = false;
};

void AddStage(const StageReport& stage, Rounds* rounds) {
  rounds->seconds[stage.round] += stage.seconds;
  if (!stage.left_out.empty()) rounds->left_out[stage.round] = Printable(stage.left_out);
  for (const std::string& metric : StageViewOf(stage.type).table.of_round) {
    const std::optional<Figure> figure = FigureOf(stage, metric);
    if (!figure) continue;
    const std::string heading = absl::StrCat(NameInRound(stage), ": ", FigureTitle(metric));
    std::vector<std::string>& headings = rounds->headings;
    if (std::count(headings.begin(), headings.end(), heading) == 0) headings.push_back(heading);
    rounds->cells[stage.round][heading] = FigureText(metric, *figure);
    rounds->intervals = rounds->intervals || HasInterval(stage);
  }
}

// One row a round, one column for each metric that a round's row has (StageTable::of_round); the seconds of a round are
// those of all its stages, and the last column says why a round was left out.
SummaryTable RoundsTable(const std::string& repeat, const std::vector<StageReport>& stages) {
  Rounds rounds;
  for (const StageReport& stage : stages) {
    if (stage.repeat == repeat) AddStage(stage, &rounds);
  }
  SummaryTable table{.type = "", .title = absl::StrCat("Rounds of ", Printable(repeat)), .rows = {{"round"}}};
  table.intervals = rounds.intervals;
  table.rows[0].insert(table.rows[0].end(), rounds.headings.begin(), rounds.headings.end());
  table.rows[0].push_back("seconds");
  if (!rounds.left_out.empty()) table.rows[0].push_back("left out");
  for (const auto& [round, seconds] : rounds.seconds) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row.push_back(absl::StrCat(round));
    for (const std::string& heading : rounds.headings) row.push_back(rounds.cells[round][heading]);
    row.push_back(rounds.left_out.count(round) > 0 ? "" : absl::StrFormat("%.1f", seconds));
    if (!rounds.left_out.empty()) row.push_back(rounds.left_out[round]);
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

absl::StatusOr<RunSummary> ReadSummary(const std::string& run_dir) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(run_dir + "/summary.json", kMaxSummaryBytes));
  return ParseSummary(content);
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
    SummaryTable table{
        .type = type, .title = plugin.view.table.title, .rows = std::move(rows), .intervals = intervals, .notes = {}};
    if (plugin.view.table.by_policy) {
      table.notes = TeacherSentences(stages);
      for (std::string& sentence : RepeatedWork(stages)) table.notes.push_back(std::move(sentence));
    }
    tables.push_back(std::move(table));
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
