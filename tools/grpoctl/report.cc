#include "tools/grpoctl/report.h"

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kLowSuffix[] = "_ci_low";
constexpr char kHighSuffix[] = "_ci_high";
constexpr int kSamplesPerPolicy = 2;
constexpr int kMaxSampleBytes = 400;

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
  return Printable(absl::StrReplaceAll(metric, {{"_at_", "@"}, {"_", " "}}));
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

// The policy where it names one stage only, else the stage.
std::string Heading(const StageSummary& stage, const std::vector<const StageSummary*>& stages) {
  int num_same = 0;
  for (const StageSummary* other : stages) num_same += other->policy == stage.policy ? 1 : 0;
  return Printable(num_same == 1 && !stage.policy.empty() ? stage.policy : stage.name);
}

std::string StageSeconds(const std::vector<StageSummary>& stages) {
  std::vector<std::vector<std::string>> rows = {{"stage", "type", "seconds"}};
  double total = 0;
  for (const StageSummary& stage : stages) {
    rows.push_back({Printable(stage.name), Printable(stage.type), absl::StrFormat("%.1f", stage.seconds)});
    total += stage.seconds;
  }
  rows.push_back({"all", "", absl::StrFormat("%.1f", total)});
  return FormatTable(rows);
}

std::string Places(const std::string& run_dir, const std::vector<std::string>& artifacts) {
  constexpr std::pair<const char*, const char*> kPlaces[] = {
      {"summary.json", "each stage's figures"},
      {"metrics.jsonl", "one line a step"},
      {"completions", "what was sampled in evaluations"},
      {"checkpoints", "state to resume from"},
      {"quarantine.jsonl", "prompts that killed their workers"},
      {"config.yaml", "the resolved configuration"},
      {"logs", "what each process said"},
  };
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const char* what) {
    const std::string path = absl::StrCat(run_dir, "/", name);
    std::error_code error;
    if (std::filesystem::exists(path, error)) rows.push_back({path, what});
  };
  for (const std::string& artifact : artifacts) add(artifact, "a policy as a Hugging Face folder");
  for (const auto& [name, what] : kPlaces) add(name, what);
  return FormatTable(rows);
}

}  // namespace

absl::StatusOr<std::vector<StageSummary>> ParseSummary(absl::string_view summary_json) {
  const json document = json::parse(summary_json.begin(), summary_json.end(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("stages") || !document["stages"].is_array()) {
    return absl::DataLossError("summary.json is no object with a list \"stages\"");
  }
  std::vector<StageSummary> stages;
  for (const json& entry : document["stages"]) {
    if (!entry.is_object()) return absl::DataLossError("summary.json holds a stage that is no object");
    StageSummary stage{.name = TextOf(entry, "name"),
                       .type = TextOf(entry, "type"),
                       .policy = TextOf(entry, "policy"),
                       .seconds = 0,
                       .metrics = {}};
    if (entry.contains("seconds") && entry["seconds"].is_number()) stage.seconds = entry["seconds"].get<double>();
    if (entry.contains("metrics") && entry["metrics"].is_object()) {
      for (const auto& [metric, value] : entry["metrics"].items()) {
        if (value.is_number()) stage.metrics[metric] = value.get<double>();
      }
    }
    stages.push_back(std::move(stage));
  }
  return stages;
}

std::string EvaluationTable(const std::vector<StageSummary>& all_stages) {
  const std::vector<const StageSummary*> stages = EvaluateStages(all_stages);
  if (stages.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"metric"}};
  for (const StageSummary* stage : stages) rows[0].push_back(Heading(*stage, stages));
  for (const std::string& metric : MetricRows(stages)) {
    std::vector<std::string> row = {ShowName(metric)};
    for (const StageSummary* stage : stages) row.push_back(Cell(*stage, metric));
    rows.push_back(std::move(row));
  }
  return FormatTable(rows);
}

std::string SampleCompletions(const std::string& run_dir, const std::string& stage, int num_samples) {
  std::ifstream file(absl::StrCat(run_dir, "/completions/", stage, ".jsonl"), std::ios::binary);
  std::string text, line;
  std::set<std::string> prompts;
  while (static_cast<int>(prompts.size()) < num_samples && std::getline(file, line)) {
    const json sample = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!sample.is_object() || !prompts.insert(TextOf(sample, "prompt")).second) continue;
    const auto shown = [&](const char* key) { return Truncated(Printable(TextOf(sample, key)), kMaxSampleBytes); };
    const auto value = sample.find("value");
    const std::string reward = value != sample.end() && value->is_number() ? FormatNumber(value->get<double>()) : "?";
    absl::StrAppend(&text, "  ", shown("prompt"), "\n    ", shown("completion"), "\n    reward ", reward,
                    ", reference answer ", shown("answer"), "\n");
  }
  return text;
}

absl::StatusOr<std::string> RunReport(const std::string& run_dir, const std::vector<std::string>& artifacts) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(run_dir + "/summary.json", /*max_bytes=*/64 << 20));
  ASSIGN_OR_RETURN(const std::vector<StageSummary> stages, ParseSummary(content));
  std::string report = EvaluationTable(stages);
  const std::vector<const StageSummary*> evaluations = EvaluateStages(stages);
  for (const StageSummary* stage : evaluations) {
    const std::string samples = SampleCompletions(run_dir, stage->name, kSamplesPerPolicy);
    if (!samples.empty()) absl::StrAppend(&report, "\nCompletions of ", Heading(*stage, evaluations), ":\n", samples);
  }
  absl::StrAppend(&report, report.empty() ? "" : "\n", StageSeconds(stages), "\n", Places(run_dir, artifacts));
  return report;
}

}  // namespace grpo
