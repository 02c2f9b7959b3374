#include "tools/page/data.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/records/completions.h"
#include "tools/grpoctl/records/run_folder.h"
#include "tools/grpoctl/text.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr size_t kNumProblems = 6;
// Problems of a stage among which those that every stage has are looked for.
constexpr int64_t kProblemCandidates = 500;

// Stage, then metric, then (step, value).
using Curves = std::vector<std::pair<std::string, std::map<std::string, std::vector<std::pair<double, double>>>>>;

// The type of each stage, by its name.
using StageTypeOf = std::map<std::string, std::string>;

bool IsCharted(const StageView& view, const std::string& metric) {
  return std::any_of(view.charts.begin(), view.charts.end(),
                     [&](const ChartedMetric& charted) { return MatchMetric(charted.metric, metric).has_value(); });
}

// Of every stage that has any. Lines that are cut or broken are left out.
Curves ReadCurves(const std::string& path, const StageTypeOf& types) {
  Curves curves;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.contains("stage") || !record["stage"].is_string() || !record.contains("step") ||
        !record["step"].is_number())
      continue;
    const std::string stage = record["stage"].get<std::string>();
    const auto type = types.find(stage);
    const StageView& view = StageViewOf(type == types.end() ? "" : type->second);
    if (view.charts.empty()) continue;
    if (curves.empty() || curves.back().first != stage) curves.push_back({stage, {}});
    for (const auto& [metric, value] : record.items()) {
      if (!IsCharted(view, metric)) continue;
      const double number = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
      curves.back().second[metric].emplace_back(record["step"].get<double>(), number);
    }
  }
  return curves;
}

// A file name without surprises.
std::string Slug(const std::string& text) {
  std::string slug;
  for (const char c : text) slug.push_back(absl::ascii_isalnum(c) ? absl::ascii_tolower(c) : '_');
  return slug.substr(0, 60);
}

void AddChart(const Curves& curves, const ChartedMetric& charted, const std::string& metric, const std::string& prefix,
              std::vector<Chart>* charts) {
  const std::string star = MatchMetric(charted.metric, metric).value_or("");
  Chart chart{.id = "",
              .title = absl::StrReplaceAll(charted.title, {{"*", star}}),
              .unit = charted.unit,
              .series = {},
              .merge = charted.keep_largest ? Chart::Merge::kMax : Chart::Merge::kMean};
  for (const auto& [stage, metrics] : curves) {
    const auto points = metrics.find(metric);
    if (points != metrics.end()) chart.series.push_back({stage, points->second});
  }
  if (chart.series.empty()) return;
  // Who the one line belongs to, where there is no legend.
  if (chart.series.size() == 1) absl::StrAppend(&chart.title, ", ", chart.series[0].name);
  // The number keeps ids apart where names differ only in what Slug replaces.
  chart.id = absl::StrCat(prefix, charts->size() + 1, "_", Slug(metric));
  charts->push_back(std::move(chart));
}

// Null for a stage that the configuration does not name, or that cannot be read from it.
const Stage* FindStage(const RunConfig& config, const std::string& name) {
  for (const ConfiguredStage& configured : config.stages) {
    if (configured.name == name) return configured.stage.get();
  }
  return nullptr;
}

// The curves of stages of one group and type, together.
std::vector<Chart> MakeCharts(const Curves& curves, const RunConfig& config, const StageTypeOf& types) {
  std::map<std::tuple<int, std::string, std::string>, Curves> groups;
  for (const auto& curve : curves) {
    const Stage* const stage = FindStage(config, curve.first);
    const ChartGroup group = stage == nullptr ? ChartGroup() : stage->chart_group();
    groups[{group.rank, group.name, types.at(curve.first)}].push_back(curve);
  }
  std::vector<Chart> charts;
  for (const auto& [key, group] : groups) {
    const auto& [rank, name, type] = key;
    std::set<std::string> metrics;
    for (const auto& [stage, points] : group) {
      for (const auto& [metric, unused] : points) metrics.insert(metric);
    }
    for (const ChartedMetric& charted : StageViewOf(type).charts) {
      for (const std::string& metric : metrics) {
        if (MatchMetric(charted.metric, metric)) AddChart(group, charted, metric, Slug(name) + "_", &charts);
      }
    }
  }
  return charts;
}

ShownSample MakeSample(const StoredCompletion& stored, const std::string& heading, const std::string& accuracy_rule) {
  bool right = false;
  if (stored.rules.is_object() && stored.rules.contains(accuracy_rule)) {
    const auto& rule = stored.rules[accuracy_rule];
    right = rule.is_object() && rule.contains("value") && rule["value"].is_number() && rule["value"].get<double>() >= 1;
  }
  return {.heading = heading,
          .right = right,
          .greedy = stored.temperature == 0,
          .reward = stored.excluded ? "none" : FormatNumber(stored.reward),
          .num_tokens = stored.num_tokens,
          .completion = stored.completion};
}

// The first problems that every finished stage sampled of those whose samples are shown.
absl::StatusOr<std::vector<SampledProblem>> ReadProblems(const CompletionsReader& reader, const RunConfig& config,
                                                         const std::vector<StageReport>& stages) {
  std::vector<SampledProblem> problems;
  bool first_stage = true;
  for (const StageReport& stage : stages) {
    if (!StageViewOf(stage.type).table.samples || !stage.left_out.empty()) continue;
    ASSIGN_OR_RETURN(const std::vector<StoredCompletion> samples, reader.Select({.stage = stage.name,
                                                                                 .step = {},
                                                                                 .prompt_id = {},
                                                                                 .where = "sample_index = 0",
                                                                                 .limit = kProblemCandidates}));
    std::map<std::string, const StoredCompletion*> by_problem;
    for (const StoredCompletion& stored : samples) {
      // A greedy sample of the same problem comes later and is not taken.
      const bool is_first = by_problem.emplace(stored.prompt_id, &stored).second;
      if (first_stage && is_first) problems.push_back({stored.prompt_id, stored.prompt, stored.answer, {}});
    }
    first_stage = false;
    const Stage* const configured = FindStage(config, stage.name);
    const std::string accuracy_rule = configured == nullptr ? "" : configured->accuracy_rule();
    std::erase_if(problems, [&](const SampledProblem& problem) { return by_problem.count(problem.prompt_id) == 0; });
    for (SampledProblem& problem : problems) {
      problem.samples.push_back(
          MakeSample(*by_problem.at(problem.prompt_id), ColumnHeading(stage, stages), accuracy_rule));
    }
  }
  if (problems.size() > kNumProblems) problems.resize(kNumProblems);
  return problems;
}

// By the configuration, or, where that cannot be read, by the reports of those that have ended.
StageTypeOf TypesOf(const RunConfig& config, const std::vector<StageReport>& reports) {
  StageTypeOf types;
  for (const ConfiguredStage& configured : config.stages) types[configured.name] = configured.type;
  for (const StageReport& report : reports) types.emplace(report.name, report.type);
  return types;
}

std::string State(const std::string& run_dir, size_t num_done, const RunConfig& config) {
  if (!config.stages.empty() && num_done >= config.stages.size()) return "finished";
  const std::string done = absl::StrCat(num_done, " of ", config.stages.size(), " stages done");
  return absl::StrCat(FindEndpoint(run_dir).ok() ? "running, " : "stopped, ", done);
}

}  // namespace

absl::StatusOr<ReportData> GatherReport(const std::string& run_dir) {
  const RunConfig config = ReadRunConfig(run_dir + "/config.yaml");
  RunSummary summary;
  const absl::StatusOr<std::string> content = ReadFile(run_dir + "/summary.json", kMaxSummaryBytes);
  if (content.ok()) {
    ASSIGN_OR_RETURN(summary, ParseSummary(*content));
  } else if (config.stages.empty()) {
    return Annotate(content.status(), "this is no run's folder");
  } else {
    // A run writes it at the end of its first stage.
    summary.name = config.run.name;
    summary.seed = config.run.seed;
    summary.id = std::string(absl::StripAsciiWhitespace(ReadFile(run_dir + "/run_id", 4096).value_or("")));
  }
  const StageTypeOf types = TypesOf(config, summary.stages);
  const std::string metrics = run_dir + "/metrics.jsonl";
  if (const absl::Status file = ExpectFile(metrics); absl::IsInvalidArgument(file)) return file;
  ReportData data{.name = summary.name,
                  .id = summary.id,
                  .state = State(run_dir, summary.stages.size(), config),
                  .seed = absl::StrCat(summary.seed),
                  .tables = SummaryTables(summary.stages),
                  .seconds = summary.stages.empty() ? TableRows() : StageSecondsRows(summary.stages),
                  .charts = MakeCharts(ReadCurves(metrics, types), config, types),
                  .problems = {}};
  const absl::StatusOr<std::unique_ptr<CompletionsReader>> reader = CompletionsReader::Open(run_dir);
  if (reader.ok()) {
    ASSIGN_OR_RETURN(data.problems, ReadProblems(**reader, config, summary.stages));
  } else if (!absl::IsNotFound(reader.status())) {
    return reader.status();
  }
  return data;
}

}  // namespace grpo
