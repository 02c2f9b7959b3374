// The list of metrics: what each is called, its unit, how its values come together, and what it means. Links no torch.
//
// Whoever writes a metric names it by a constant of namespace metric (metric::kReward,
// metric::RuleMean("format_tags")); whoever shows one asks FindMetric for its unit. docs/metrics.md is generated from
// the list.
#ifndef GRPO_TRAINER_RECORDS_METRICS_H_
#define GRPO_TRAINER_RECORDS_METRICS_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace grpo {

// kFraction lies in [0, 1] and is shown in per cent; kNats is a natural logarithm's unit.
enum class MetricUnit { kNumber, kFraction, kCount, kTokens, kTokensPerSecond, kSeconds, kBytes, kNats };

// What becomes of the values that micro-batches, updates and ranks have.
enum class MetricJoin {
  // Rank 0 knows it once a step or once a stage.
  kOnce,
  // Weighted sums over targets: added up over micro-batches and ranks, then the mean over the step's updates.
  kSum,
  // The largest over micro-batches and ranks; of the step, the first update's.
  kMax,
  // The same on all ranks to rounding: rank 0's, then the mean over the step's updates.
  kFirstRank,
};

// An entry of metrics.inc.
struct MetricInfo {
  // "reward", or "rewards/<rule>/mean" of a family, which has one metric for each rule.
  std::string name;
  // What stands before and behind a family's placeholder; of a single metric `prefix` is its name.
  absl::string_view prefix, suffix;
  bool is_family = false;
  MetricUnit unit = MetricUnit::kNumber;
  MetricJoin join = MetricJoin::kOnce;
  // One sentence for docs/metrics.md.
  absl::string_view help;
};

namespace metric {
#define METRIC(constant, name, unit, join, help) inline constexpr char constant[] = name;
#define METRIC_FAMILY(function, prefix, placeholder, suffix, unit, join, help) \
  inline std::string function(const absl::AlphaNum& part) {                    \
    return absl::StrCat(prefix, part, suffix);                                 \
  }
#include "trainer/records/metrics.inc"
#undef METRIC
#undef METRIC_FAMILY
}  // namespace metric

// In the order of metrics.inc. Lives for ever; any thread.
const std::vector<MetricInfo>& ListMetrics();
// The entry that a metric's name belongs to; null for a name that nobody declared. A single metric goes before a
// family. Lives for ever.
const MetricInfo* FindMetric(absl::string_view name);
// What stands in the place of a family's placeholder: "format_tags" of "rewards/format_tags/mean". Empty for a single
// metric. `info` is FindMetric(name); a view into `name`.
absl::string_view FamilyPart(const MetricInfo& info, absl::string_view name);

// Null but in the binaries of tests that add entries (tests/toy/README.md).
[[gnu::weak]] std::vector<MetricInfo> ToyMetrics();

// docs/metrics.md. A test compares the two.
std::string MetricsReference();

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_METRICS_H_
