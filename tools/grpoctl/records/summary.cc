#include "tools/grpoctl/records/summary.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kLowSuffix[] = "_ci_low";
constexpr char kHighSuffix[] = "_ci_high";

// What every evaluation has comes first; the rest follows by name.
constexpr const char* kLeadingMetrics[] = {"pass_at_1", "pass_at_8", "greedy_accuracy", "format_rate",
                                           "mean_completion_tokens"};

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool IsFraction(absl::string_view metric) {
  return absl::StartsWith(metric, "pass_at_") || absl::StartsWith(metric, "maj_at_") ||
         absl::EndsWith(metric, "_accuracy") || absl::EndsWith(metric, "_rate");
}

std::string ShowValue(absl::string_view metric, double value) {
  return IsFraction(metric) ? absl::StrFormat("%.1f %%", 100 * value) : FormatNumber(value);
}

// "pass@1" for pass_at_1, "format rate" for format_rate.
std::string ShowName(absl::string_view metric) {
  return Printable(absl::StrReplaceAll(metric, {{"_at_", "@"}, {"_", " "}, {"/", ": "}}));
}

std::string Cell(const StageSummary& stage, const std::string& metric) {
  const auto value = stage.metrics.find(metric);
  if (value == stage.metrics.end()) return "";
  const auto low = stage.metrics.find(metric + kLowSuffix), high = stage.metrics.find(metric + kHighSuffix);
  if (low == stage.metrics.end() || high == stage.metrics.end()) return ShowValue(metric, value->second);
  const double scale = IsFraction(metric) ? 100 : 1;
  return absl::StrFormat("%s (%.1f to %.1f)", ShowValue(metric, value->second), scale * low->second,
                         scale * high->second);
}

std::vector<const StageSummary*> EvaluateStages(const std::vector<StageSummary>& stages) {
  std::vector<const StageSummary*> found;
  for (const StageSummary& stage : stages) {
    if (stage.type == "evaluate") found.push_back(&stage);
  }
  return found;
}

// Of the policy, over all train stages and the stages that wrote what they read: what a student's or a teacher's score
// has cost.
double TrainingSeconds(const std::string& policy, const std::vector<StageSummary>& stages) {
  double seconds = 0;
  std::set<std::string> artifacts;
  for (const StageSummary& stage : stages) {
    if (stage.type != "train" || stage.policy != policy) continue;
    seconds += stage.seconds;
    artifacts.insert(stage.data_artifact);
  }
  for (const StageSummary& stage : stages) {
    if (!stage.artifact.empty() && artifacts.count(stage.artifact) > 0) seconds += stage.seconds;
  }
  return seconds;
}

std::vector<std::string> MetricRows(const std::vector<const StageSummary*>& stages) {
  std::set<std::string> rest;
  for (const StageSummary* stage : stages) {
    for (const auto& [metric, value] : stage->metrics) {
      const bool interval = absl::EndsWith(metric, kLowSuffix) || absl::EndsWith(metric, kHighSuffix);
      // "outcomes/..." and the like are for metrics.jsonl: a table of them would hide what matters.
      if (!interval && !absl::StrContains(metric, '/')) rest.insert(metric);
    }
  }
  std::vector<std::string> rows;
  for (const char* metric : kLeadingMetrics) {
    if (rest.erase(metric) > 0) rows.push_back(metric);
  }
  rows.insert(rows.end(), rest.begin(), rest.end());
  return rows;
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
  for (const json& entry : document["stages"]) {
    if (!entry.is_object()) return absl::DataLossError("summary.json holds a stage that is no object");
    StageSummary stage{.name = TextOf(entry, "name"),
                       .type = TextOf(entry, "type"),
                       .policy = TextOf(entry, "policy"),
                       .artifact = TextOf(entry, "artifact"),
                       .data_artifact = TextOf(entry, "data_artifact"),
                       .seconds = 0,
                       .metrics = {}};
    if (entry.contains("seconds") && entry["seconds"].is_number()) stage.seconds = entry["seconds"].get<double>();
    if (entry.contains("metrics") && entry["metrics"].is_object()) {
      for (const auto& [metric, value] : entry["metrics"].items()) {
        if (value.is_number()) stage.metrics[metric] = value.get<double>();
      }
    }
    summary.stages.push_back(std::move(stage));
  }
  return summary;
}

std::string EvaluationHeading(const StageSummary& stage, const std::vector<StageSummary>& stages) {
  int num_same = 0;
  for (const StageSummary* other : EvaluateStages(stages)) num_same += other->policy == stage.policy ? 1 : 0;
  return Printable(num_same == 1 && !stage.policy.empty() ? stage.policy : stage.name);
}

TableRows EvaluationRows(const std::vector<StageSummary>& all_stages) {
  const std::vector<const StageSummary*> stages = EvaluateStages(all_stages);
  if (stages.empty()) return {};
  TableRows rows = {{"metric"}};
  for (const StageSummary* stage : stages) rows[0].push_back(EvaluationHeading(*stage, all_stages));
  for (const std::string& metric : MetricRows(stages)) {
    std::vector<std::string> row = {ShowName(metric)};
    for (const StageSummary* stage : stages) row.push_back(Cell(*stage, metric));
    rows.push_back(std::move(row));
  }
  std::vector<std::string> training = {"training seconds"};
  for (const StageSummary* stage : stages) {
    const double seconds = TrainingSeconds(stage->policy, all_stages);
    training.push_back(seconds > 0 ? absl::StrFormat("%.1f", seconds) : "");
  }
  rows.push_back(std::move(training));
  return rows;
}

TableRows SynthesisRows(const std::vector<StageSummary>& stages) {
  TableRows rows = {{"traces"}};
  std::set<std::string> metrics;
  for (const StageSummary& stage : stages) {
    if (stage.type != "synthesize") continue;
    rows[0].push_back(Printable(stage.name));
    for (const auto& [metric, value] : stage.metrics) metrics.insert(metric);
  }
  if (metrics.empty()) return {};
  for (const std::string& metric : metrics) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(ShowName(metric));
    for (const StageSummary& stage : stages) {
      if (stage.type == "synthesize") row.push_back(Cell(stage, metric));
    }
  }
  return rows;
}

TableRows StageSecondsRows(const std::vector<StageSummary>& stages) {
  TableRows rows = {{"stage", "type", "seconds"}};
  double total = 0;
  for (const StageSummary& stage : stages) {
    rows.push_back({Printable(stage.name), Printable(stage.type), absl::StrFormat("%.1f", stage.seconds)});
    total += stage.seconds;
  }
  rows.push_back({"all", "", absl::StrFormat("%.1f", total)});
  return rows;
}

}  // namespace grpo
