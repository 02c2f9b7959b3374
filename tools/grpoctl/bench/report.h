// What `grpoctl bench` says of fixed work: seconds by phase, what that is a second, and how far it is from what the
// machine can do. Links no torch.
#ifndef GRPO_TOOLS_GRPOCTL_BENCH_REPORT_H_
#define GRPO_TOOLS_GRPOCTL_BENCH_REPORT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace grpo {

// What this machine was measured to do, moments before the work: the best of some tries each, on as many threads as the
// work.
struct MachineLimits {
  // Products of large matrices, in 10^9 floating-point operations a second; one multiplication with its addition is
  // two.
  double gemm_float32_gflops = 0, gemm_bfloat16_gflops = 0;
  // Memory beyond the caches, in 10^9 bytes a second: read, and copied (bytes read plus bytes written).
  double read_gb_per_s = 0, copy_gb_per_s = 0;
};

// What the work of a phase asks of the machine at least, in one repeat: products of matrices by the dtype of their
// operands, and bytes that memory has to deliver because no cache holds them. Zero where nobody counted.
struct PhaseWork {
  double float32_flop = 0, bfloat16_flop = 0;
  double read_bytes = 0;
};

// One repeat: seconds by phase, which do not overlap, and in all.
struct BenchRepeat {
  std::map<std::string, double> phases;
  double seconds = 0;
  // Of the whole process, user plus system.
  double processor_seconds = 0;
};

struct BenchReport {
  // "rollout", "step", ...
  std::string bench;
  // What was done and with what: model, shape, dtype, threads, seed. Shown and written as they are.
  nlohmann::ordered_json setting = nlohmann::ordered_json::object();
  // In the order of the phases' work; phases of the repeats that are not here come last, by name.
  std::vector<std::string> phase_order;
  std::map<std::string, PhaseWork> work;
  // At least one.
  std::vector<BenchRepeat> repeats;
  // What came out beside times, shown and written as it is.
  nlohmann::ordered_json figures = nlohmann::ordered_json::object();
  // Of each repeat; what `unit` says ("tokens", "completions").
  double count = 0;
  std::string unit = "tokens";
  // Resident, from the beginning of the work on, the model included.
  int64_t peak_memory_bytes = 0;
  // Without: nothing is said of fractions.
  std::optional<MachineLimits> limits;
  // The one-minute average before and after.
  double load_before = 0, load_after = 0;
};

// Smallest, median and largest. The median of an even number of values is the upper one of the two.
struct Spread {
  double min = 0, median = 0, max = 0;
};
// `values` is not empty. Pure.
Spread SpreadOf(std::vector<double> values);

// The load average of the last minute; 0 where the system does not say.
double LoadAverage();
// Seconds of processor time, user plus system, that this process has used so far, all threads.
double ProcessorSeconds();

// One JSON object:
//   {"bench", "setting": {...}, "repeats", "seconds": {"min","median","max"}, "processor_seconds": {...},
//    "phases": {NAME: {"min","median","max","share", and with work and limits "gflops","gemm_frac","gb_per_s",
//    "read_frac"}}, UNIT: count, "UNIT_per_second": {...}, "peak_memory_bytes", "figures": {...}, "limits": {...}, "load": [before, after]}
// `share` is the median over the median of the whole. A fraction is what the limits would need over what it took; of
// work in both dtypes, the sum of both needs.
nlohmann::ordered_json BenchJson(const BenchReport& report);
// The same for people, in lines.
std::string BenchTable(const BenchReport& report);
// One of the two, ending in a newline.
std::string BenchText(const BenchReport& report, bool as_json);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_BENCH_REPORT_H_
