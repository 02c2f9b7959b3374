#include "trainer/rounds.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/log.h"

namespace grpo {
namespace {

// What a gain may be short of min_gain by: the rounding of a difference.
constexpr double kTolerance = 1e-9;

// Of the stage's report; nullopt where there is none, or no such number in it.
std::optional<double> MetricOf(const std::string& stage, const std::string& metric,
                               const std::vector<StageReport>& reports) {
  const auto report = std::find_if(reports.begin(), reports.end(),
                                   [&stage](const StageReport& candidate) { return candidate.name == stage; });
  if (report == reports.end()) return std::nullopt;
  const auto value = report->metrics.find(metric);
  if (value == report->metrics.end() || !std::isfinite(value->second)) return std::nullopt;
  return value->second;
}

}  // namespace

std::string RoundStageName(const std::string& repeat, int64_t round, const std::string& stage) {
  return absl::StrCat(repeat, ".", round, ".", stage);
}

std::optional<StageRound> RoundOf(const RunConfig& config, const std::string& stage) {
  for (const auto& [repeat, rounds] : config.rounds) {
    absl::string_view rest = stage;
    if (rest.substr(0, repeat.size()) != repeat) continue;
    rest.remove_prefix(repeat.size());
    if (rest.empty() || rest[0] != '.') continue;
    rest.remove_prefix(1);
    const size_t dot = rest.find('.');
    int64_t round = 0;
    if (dot == absl::string_view::npos || !absl::SimpleAtoi(rest.substr(0, dot), &round)) continue;
    if (round >= 1 && round <= rounds.times) return StageRound{.repeat = repeat, .round = round};
  }
  return std::nullopt;
}

void Identify(const RunConfig& config, const std::string& stage, const std::string& type, StageReport* report) {
  report->name = stage;
  report->type = type;
  const std::optional<StageRound> place = RoundOf(config, stage);
  if (!place.has_value()) return;
  report->repeat = place->repeat;
  report->round = place->round;
}

std::vector<Conflict> RoundConflicts(const RunConfig& config) {
  std::vector<Conflict> conflicts;
  for (const auto& [repeat, rounds] : config.rounds) {
    if (rounds.until.stage.empty()) continue;
    const std::string measured = RoundStageName(repeat, 1, rounds.until.stage);
    const bool is_there = std::any_of(config.stages.begin(), config.stages.end(),
                                      [&measured](const ConfiguredStage& stage) { return stage.name == measured; });
    if (is_there) continue;
    conflicts.push_back(
        {absl::StrCat("rounds.", repeat, ".until.stage"),
         absl::StrCat("there is no stage ", measured, "; write a `repeat` among the stages, and leave `rounds` out")});
  }
  return conflicts;
}

std::string WhyLeftOut(const RunConfig& config, const std::string& stage, const std::vector<StageReport>& reports) {
  const std::optional<StageRound> place = RoundOf(config, stage);
  if (!place.has_value()) return "";
  const UntilOptions& until = config.rounds.at(place->repeat).until;
  if (until.stage.empty()) return "";
  for (int64_t round = 2; round < place->round; ++round) {
    const std::string measured = RoundStageName(place->repeat, round, until.stage);
    const std::optional<double> now = MetricOf(measured, until.metric, reports);
    const std::optional<double> before =
        MetricOf(RoundStageName(place->repeat, round - 1, until.stage), until.metric, reports);
    if (!now.has_value() || !before.has_value()) {
      spdlog::warn("the `until` of {} CANNOT DECIDE after round {}: stage {} or the one of the round before has no {}",
                   place->repeat, round, measured, until.metric);
      continue;
    }
    if (*now - *before >= until.min_gain - kTolerance) continue;
    return absl::StrCat(until.metric, " of ", measured, " is ", *now, ", ", *now - *before, " above the round before (",
                        *before, "), and until.min_gain is ", until.min_gain);
  }
  return "";
}

}  // namespace grpo
