#include "trainer/stage/report.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

template <class Number>
Number NumberOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<Number>() : Number{};
}

std::vector<std::string> TextsOf(const json& object, const char* key) {
  std::vector<std::string> texts;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return texts;
  for (const json& text : *found) {
    if (text.is_string()) texts.push_back(text.get<std::string>());
  }
  return texts;
}

StageReport FromJson(const json& entry) {
  const auto spent = entry.find("spent");
  const json& spending = spent != entry.end() && spent->is_object() ? *spent : entry;
  StageReport report{.name = TextOf(entry, "name"),
                     .type = TextOf(entry, "type"),
                     .repeat = TextOf(entry, "repeat"),
                     .round = NumberOf<int64_t>(entry, "round"),
                     .left_out = TextOf(entry, "left_out"),
                     .seconds = NumberOf<double>(entry, "seconds"),
                     .starts = NumberOf<int64_t>(spending, "starts"),
                     .tokens = NumberOf<double>(spending, "tokens"),
                     .usd = NumberOf<double>(spending, "usd"),
                     .weights_from = TextOf(entry, "weights_from"),
                     .learned_from = TextsOf(entry, "learned_from"),
                     .taught_by = TextsOf(entry, "taught_by"),
                     .teachers = TextsOf(entry, "teachers"),
                     .policy = TextOf(entry, "policy"),
                     .policy_number = NumberOf<int64_t>(entry, "policy_number"),
                     .steps = NumberOf<int64_t>(entry, "steps"),
                     .conditions = TextOf(entry, "conditions"),
                     .metrics = {},
                     .exported_to = TextOf(entry, "exported_to"),
                     .artifact = TextOf(entry, "artifact"),
                     .artifact_sha256 = TextOf(entry, "artifact_sha256"),
                     .data_artifact = TextOf(entry, "data_artifact")};
  const auto metrics = entry.find("metrics");
  if (metrics == entry.end() || !metrics->is_object()) return report;
  for (const auto& [name, value] : metrics->items()) {
    if (value.is_number()) report.metrics[name] = value.get<double>();
    if (value.is_null()) report.metrics[name] = std::numeric_limits<double>::quiet_NaN();
  }
  return report;
}

}  // namespace

void FillSpent(const Spent& spent, StageReport* report) {
  report->seconds = spent.seconds;
  report->starts = spent.starts;
  report->tokens = spent.tokens;
  report->usd = spent.usd;
}

json ToJson(const StageReport& report) {
  json entry = {{"name", report.name},
                {"type", report.type},
                {"seconds", report.seconds},
                {"policy", report.policy},
                {"policy_number", report.policy_number},
                {"steps", report.steps},
                {"metrics", report.metrics}};
  if (report.starts > 0) {
    entry["spent"] = {{"starts", report.starts}, {"tokens", report.tokens}};
    if (report.usd > 0) entry["spent"]["usd"] = report.usd;
  }
  for (const auto& [key, texts] : {std::pair{"learned_from", &report.learned_from},
                                   {"taught_by", &report.taught_by},
                                   {"teachers", &report.teachers}}) {
    if (!texts->empty()) entry[key] = *texts;
  }
  for (const auto& [key, text] : {std::pair{"exported_to", &report.exported_to},
                                  {"weights_from", &report.weights_from},
                                  {"conditions", &report.conditions},
                                  {"artifact", &report.artifact},
                                  {"artifact_sha256", &report.artifact_sha256},
                                  {"data_artifact", &report.data_artifact},
                                  {"repeat", &report.repeat},
                                  {"left_out", &report.left_out}}) {
    if (!text->empty()) entry[key] = *text;
  }
  if (report.round > 0) entry["round"] = report.round;
  return entry;
}

json ToJson(const std::vector<StageReport>& reports) {
  json entries = json::array();
  for (const StageReport& report : reports) entries.push_back(ToJson(report));
  return entries;
}

absl::StatusOr<std::vector<StageReport>> StageReportsFromJson(const json& entries, const std::string& file) {
  if (!entries.is_array()) return absl::DataLossError(absl::StrCat(file, " holds no list of stages"));
  std::vector<StageReport> reports;
  for (const json& entry : entries) {
    if (!entry.is_object()) return absl::DataLossError(absl::StrCat(file, " holds a stage that is no object"));
    reports.push_back(FromJson(entry));
  }
  return reports;
}

void ShowReport(const StageReport& report, v1::StageStatus* status) {
  status->set_state(v1::STAGE_STATE_DONE);
  status->set_seconds(report.seconds);
  status->set_num_steps(report.steps);
  status->set_step(report.steps);
  for (const auto& [name, value] : report.metrics) {
    if (std::isfinite(value)) (*status->mutable_metrics())[name] = value;
  }
}

}  // namespace grpo
