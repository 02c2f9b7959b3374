#include "tools/grpoctl/bench/report.h"

#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

Json SpreadJson(const Spread& spread) {
  return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}};
}

std::vector<std::string> PhaseNames(const BenchReport& report) {
  std::vector<std::string> names;
  const auto add = [&names](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  std::map<std::string, bool> there;
  for (const BenchRepeat& repeat : report.repeats) {
    for (const auto& [name, seconds] : repeat.phases) there[name] = true;
  }
  for (const std::string& name : report.phase_order) {
    if (there.count(name) > 0) add(name);
  }
  for (const auto& [name, unused] : there) add(name);
  return names;
}

// By what `get` takes of each repeat.
template <typename Get>
Spread SpreadOver(const BenchReport& report, const Get& get) {
  std::vector<double> values;
  for (const BenchRepeat& repeat : report.repeats) values.push_back(get(repeat));
  return SpreadOf(std::move(values));
}

Spread PhaseSpread(const BenchReport& report, const std::string& phase) {
  return SpreadOver(report, [&](const BenchRepeat& repeat) {
    const auto found = repeat.phases.find(phase);
    return found == repeat.phases.end() ? 0.0 : found->second;
  });
}

Spread PerSecond(const BenchReport& report) {
  return SpreadOver(report, [&](const BenchRepeat& repeat) { return report.count / std::max(repeat.seconds, 1e-9); });
}

// What a phase's work came to, against the limits.
struct Rates {
  double gflops = 0, gemm_frac = 0, gb_per_s = 0, read_frac = 0;
};

std::optional<Rates> RatesOf(const BenchReport& report, const std::string& phase, double seconds) {
  const auto found = report.work.find(phase);
  if (found == report.work.end() || !report.limits.has_value() || seconds <= 0) return std::nullopt;
  const PhaseWork& work = found->second;
  const MachineLimits& limits = *report.limits;
  const auto over = [](double amount, double limit) { return limit > 0 ? amount / limit : 0; };
  const double needed = over(work.float32_flop, limits.gemm_float32_gflops * 1e9) +
                        over(work.bfloat16_flop, limits.gemm_bfloat16_gflops * 1e9);
  return Rates{.gflops = (work.float32_flop + work.bfloat16_flop) / seconds / 1e9,
               .gemm_frac = needed / seconds,
               .gb_per_s = work.read_bytes / seconds / 1e9,
               .read_frac = over(work.read_bytes / seconds, limits.read_gb_per_s * 1e9)};
}

Json LimitsJson(const MachineLimits& limits) {
  return {{"gemm_float32_gflops", limits.gemm_float32_gflops},
          {"gemm_bfloat16_gflops", limits.gemm_bfloat16_gflops},
          {"read_gb_per_s", limits.read_gb_per_s},
          {"copy_gb_per_s", limits.copy_gb_per_s}};
}

Json PhasesJson(const BenchReport& report, double whole) {
  Json phases = Json::object();
  for (const std::string& name : PhaseNames(report)) {
    const Spread spread = PhaseSpread(report, name);
    Json phase = SpreadJson(spread);
    phase["share"] = whole > 0 ? spread.median / whole : 0;
    if (const auto rates = RatesOf(report, name, spread.median)) {
      phase["gflops"] = rates->gflops;
      phase["gemm_frac"] = rates->gemm_frac;
      phase["gb_per_s"] = rates->gb_per_s;
      phase["read_frac"] = rates->read_frac;
    }
    phases[name] = phase;
  }
  return phases;
}

// " model DIR prompts 8".
std::string InWords(const Json& object) {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    const std::string shown = value.is_string()         ? value.get<std::string>()
                              : value.is_number_float() ? FormatNumber(value.get<double>())
                                                        : value.dump();
    absl::StrAppend(&text, " ", name, " ", Printable(shown));
  }
  return text;
}

// Numbers in one line, and a line for each entry of what holds entries.
std::string FiguresText(const Json& figures) {
  Json numbers = Json::object();
  std::string lines;
  for (const auto& [name, value] : figures.items()) {
    if (!value.is_object()) {
      numbers[name] = value;
    } else if (value.empty() || !value.front().is_object()) {
      absl::StrAppend(&lines, name, ":", InWords(value), "\n");
    } else {
      absl::StrAppend(&lines, name, ":\n");
      for (const auto& [part, inside] : value.items())
        absl::StrAppend(&lines, "  ", Printable(part), InWords(inside), "\n");
    }
  }
  return absl::StrCat(numbers.empty() ? "" : absl::StrCat("beside it:", InWords(numbers), "\n"), lines);
}

std::string Seconds(double seconds) {
  return absl::StrFormat("%.4f", seconds);
}

std::string Percent(double fraction) {
  return absl::StrFormat("%.1f %%", 100 * fraction);
}

std::vector<std::string> Row(const std::string& name, const Spread& spread, double whole,
                             const std::optional<Rates>& rates) {
  std::vector<std::string> row = {name, Seconds(spread.median), Seconds(spread.min), Seconds(spread.max),
                                  Percent(whole > 0 ? spread.median / whole : 0)};
  if (rates.has_value() && rates->gflops > 0) {
    row.push_back(FormatNumber(rates->gflops));
    row.push_back(Percent(rates->gemm_frac));
  } else if (rates.has_value()) {
    row.insert(row.end(), {"", ""});
  }
  if (rates.has_value() && rates->gb_per_s > 0) {
    row.push_back(FormatNumber(rates->gb_per_s));
    row.push_back(Percent(rates->read_frac));
  }
  return row;
}

}  // namespace

Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {.min = values.front(), .median = values[values.size() / 2], .max = values.back()};
}

double LoadAverage() {
  double load = 0;
  return ::getloadavg(&load, 1) == 1 ? load : 0;
}

double ProcessorSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Json BenchJson(const BenchReport& report) {
  const Spread whole = SpreadOver(report, [](const BenchRepeat& repeat) { return repeat.seconds; });
  const Spread processor = SpreadOver(report, [](const BenchRepeat& repeat) { return repeat.processor_seconds; });
  Json json = {{"bench", report.bench},
               {"setting", report.setting},
               {"repeats", report.repeats.size()},
               {"seconds", SpreadJson(whole)},
               {"processor_seconds", SpreadJson(processor)},
               {"phases", PhasesJson(report, whole.median)},
               {report.unit, report.count},
               {absl::StrCat(report.unit, "_per_second"), SpreadJson(PerSecond(report))},
               {"peak_memory_bytes", report.peak_memory_bytes},
               {"figures", report.figures}};
  if (report.limits.has_value()) json["limits"] = LimitsJson(*report.limits);
  json["load"] = {report.load_before, report.load_after};
  return json;
}

std::string BenchTable(const BenchReport& report) {
  const Spread whole = SpreadOver(report, [](const BenchRepeat& repeat) { return repeat.seconds; });
  const Spread processor = SpreadOver(report, [](const BenchRepeat& repeat) { return repeat.processor_seconds; });
  std::string text = absl::StrCat("bench ", report.bench, ":", InWords(report.setting));
  std::vector<std::vector<std::string>> rows = {
      {"phase", "seconds", "min", "max", "share", "GFLOP/s", "of limit", "GB/s", "of limit"}};
  for (const std::string& name : PhaseNames(report)) {
    const Spread spread = PhaseSpread(report, name);
    rows.push_back(Row(name, spread, whole.median, RatesOf(report, name, spread.median)));
  }
  rows.push_back(Row("whole", whole, whole.median, std::nullopt));
  rows.push_back({"processor time", Seconds(processor.median), Seconds(processor.min), Seconds(processor.max)});
  absl::StrAppend(&text, "\n", FormatTable(rows));
  const Spread rate = PerSecond(report);
  absl::StrAppend(&text, FormatNumber(report.count), " ", report.unit, ", ", FormatNumber(rate.median), " a second (",
                  FormatNumber(rate.min), " to ", FormatNumber(rate.max), "); median of ", report.repeats.size(),
                  "; peak memory ", FormatBytes(static_cast<double>(report.peak_memory_bytes)), "\n");
  text += FiguresText(report.figures);
  if (report.limits.has_value()) {
    const MachineLimits& limits = *report.limits;
    absl::StrAppend(&text, "limits measured before: GEMM ", FormatNumber(limits.gemm_float32_gflops),
                    " GFLOP/s in float32, ", FormatNumber(limits.gemm_bfloat16_gflops), " in bfloat16; memory read ",
                    FormatNumber(limits.read_gb_per_s), " GB/s, copied ", FormatNumber(limits.copy_gb_per_s), "\n");
  }
  absl::StrAppend(&text, absl::StrFormat("load %.2f before, %.2f after\n", report.load_before, report.load_after));
  return text;
}

std::string BenchText(const BenchReport& report, bool as_json) {
  if (!as_json) return BenchTable(report);
  // What comes from outside (a path) may be no UTF-8.
  return BenchJson(report).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace grpo
