#include "tools/page/data.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/local/run_folder.h"
#include "tools/grpoctl/records/completions.h"
#include "tools/grpoctl/text.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr size_t kNumTraces = 6;
// Problems of a stage among which those that every stage has are looked for.
constexpr int64_t kTraceCandidates = 500;

// Stage, then metric, then (step, value).
using Curves = std::vector<std::pair<std::string, std::map<std::string, std::vector<std::pair<double, double>>>>>;

// A metric of train stages that is worth a chart, in the order of the page. `rewards/<rule>/mean` come after the first.
struct Charted {
  const char *metric, *title, *unit;
  Chart::Merge merge = Chart::Merge::kMean;
};
constexpr Charted kCharted[] = {
    {"reward", "Reward", ""},
    {"completions/mean_length", "Completion length", "tokens"},
    {"loss", "Loss", ""},
    {"grad_norm", "Gradient norm", ""},
    {"logprob_abs_diff_max", "Largest |policy − sample| log-probability", "", Chart::Merge::kMax},
};
constexpr char kRulePrefix[] = "rewards/", kRuleSuffix[] = "/mean";

bool IsCharted(const std::string& metric) {
  for (const Charted& charted : kCharted) {
    if (metric == charted.metric) return true;
  }
  return absl::StartsWith(metric, kRulePrefix) && absl::EndsWith(metric, kRuleSuffix);
}

// Of every stage that learns: those that write a loss. Lines that are cut or broken are left out.
Curves ReadCurves(const std::string& path) {
  Curves curves;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.contains("loss") || !record.contains("stage") || !record["stage"].is_string() ||
        !record.contains("step") || !record["step"].is_number())
      continue;
    const std::string stage = record["stage"].get<std::string>();
    if (curves.empty() || curves.back().first != stage) curves.push_back({stage, {}});
    for (const auto& [metric, value] : record.items()) {
      if (!IsCharted(metric)) continue;
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

void AddChart(const Curves& curves, const Charted& charted, const std::string& metric, const std::string& prefix,
              std::vector<Chart>* charts) {
  Chart chart{.id = "", .title = charted.title, .unit = charted.unit, .series = {}, .merge = charted.merge};
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

// The configuration of the run, as far as it can be read; the defaults where it cannot.
RunConfig ReadConfig(const std::string& run_dir) {
  RunConfig config;
  const absl::StatusOr<Section> section = ParseConfigFile(run_dir + "/config.yaml");
  // What another version wrote is filled in as far as it is known.
  if (section.ok()) LoadOptions(*section, &config).IgnoreError();
  return config;
}

// What the stage itself declares; empty for a stage that the configuration does not name.
Section StageSection(const RunConfig& config, const std::string& stage) {
  for (const StageOptions& candidate : config.stages) {
    if (candidate.name == stage) return candidate.options;
  }
  return {};
}

// Stages that sample are compared with each other, and so are those that read the same kind of thing: other losses have
// nothing to do with each other.
std::vector<Chart> MakeCharts(const Curves& curves, const RunConfig& config) {
  Curves sampled;
  std::map<std::string, Curves> others;
  std::set<std::string> rules;
  for (const auto& curve : curves) {
    const bool samples = curve.second.count("completions/mean_length") > 0;
    (samples ? sampled : others[SectionText(StageSection(config, curve.first), "algorithm").value_or("")])
        .push_back(curve);
    for (const auto& [metric, points] : curve.second) {
      if (absl::StartsWith(metric, kRulePrefix)) rules.insert(metric);
    }
  }
  std::vector<Chart> charts;
  for (const Charted& charted : kCharted) {
    AddChart(sampled, charted, charted.metric, "sampled_", &charts);
    if (&charted != kCharted) continue;
    for (const std::string& metric : rules) {
      const std::string rule(absl::StripSuffix(absl::StripPrefix(metric, kRulePrefix), kRuleSuffix));
      const std::string title = absl::StrCat("Rule ", rule, ", mean value");
      AddChart(sampled, {metric.c_str(), title.c_str(), ""}, metric, "sampled_", &charts);
    }
  }
  for (const auto& [algorithm, stages] : others) {
    for (const Charted& charted : kCharted)
      AddChart(stages, charted, charted.metric, absl::StrCat(Slug(algorithm), "_"), &charts);
  }
  return charts;
}

// The rule whose value 1 means right, of an evaluate stage.
std::string AccuracyRule(const RunConfig& config, const std::string& stage) {
  EvaluateStageOptions options;
  LoadOptions(StageSection(config, stage), &options).IgnoreError();
  return options.accuracy_rule;
}

TraceSample MakeSample(const StoredCompletion& stored, const std::string& heading, const std::string& accuracy_rule) {
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

// The first problems that every finished evaluate stage sampled.
absl::StatusOr<std::vector<Trace>> ReadTraces(const CompletionsReader& reader, const RunConfig& config,
                                              const std::vector<StageSummary>& stages) {
  std::vector<Trace> traces;
  bool first_stage = true;
  for (const StageSummary& stage : stages) {
    if (stage.type != "evaluate") continue;
    ASSIGN_OR_RETURN(const std::vector<StoredCompletion> samples, reader.Select({.stage = stage.name,
                                                                                 .step = {},
                                                                                 .prompt_id = {},
                                                                                 .where = "sample_index = 0",
                                                                                 .limit = kTraceCandidates}));
    std::map<std::string, const StoredCompletion*> by_problem;
    for (const StoredCompletion& stored : samples) {
      // A greedy sample of the same problem comes later and is not taken.
      const bool is_first = by_problem.emplace(stored.prompt_id, &stored).second;
      if (first_stage && is_first) traces.push_back({stored.prompt_id, stored.prompt, stored.answer, {}});
    }
    first_stage = false;
    const std::string accuracy_rule = AccuracyRule(config, stage.name);
    std::erase_if(traces, [&](const Trace& trace) { return by_problem.count(trace.prompt_id) == 0; });
    for (Trace& trace : traces) {
      trace.samples.push_back(
          MakeSample(*by_problem.at(trace.prompt_id), EvaluationHeading(stage, stages), accuracy_rule));
    }
  }
  if (traces.size() > kNumTraces) traces.resize(kNumTraces);
  return traces;
}

std::string State(const std::string& run_dir, size_t num_done, const RunConfig& config) {
  if (!config.stages.empty() && num_done >= config.stages.size()) return "finished";
  const std::string done = absl::StrCat(num_done, " of ", config.stages.size(), " stages done");
  return absl::StrCat(FindEndpoint(run_dir).ok() ? "running, " : "stopped, ", done);
}

}  // namespace

absl::StatusOr<ReportData> GatherReport(const std::string& run_dir) {
  const RunConfig config = ReadConfig(run_dir);
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
  ReportData data{.name = summary.name,
                  .id = summary.id,
                  .state = State(run_dir, summary.stages.size(), config),
                  .seed = absl::StrCat(summary.seed),
                  .evaluations = EvaluationRows(summary.stages),
                  .synthesis = SynthesisRows(summary.stages),
                  .seconds = summary.stages.empty() ? TableRows() : StageSecondsRows(summary.stages),
                  .charts = MakeCharts(ReadCurves(run_dir + "/metrics.jsonl"), config),
                  .traces = {}};
  const absl::StatusOr<std::unique_ptr<CompletionsReader>> reader = CompletionsReader::Open(run_dir);
  if (reader.ok()) {
    ASSIGN_OR_RETURN(data.traces, ReadTraces(**reader, config, summary.stages));
  } else if (!absl::IsNotFound(reader.status())) {
    return reader.status();
  }
  return data;
}

}  // namespace grpo
