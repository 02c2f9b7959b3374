#include "trainer/records/metrics.h"

#include <utility>

#include "absl/strings/match.h"

namespace grpo {
namespace {

constexpr char kIntroduction[] = R"(<!-- Written by tools/reference; do not edit. To write it anew:
bazel build //tools/reference:metrics_reference && bazel-bin/tools/reference/metrics_reference > docs/metrics.md -->
# Metrics

What a run writes for each step into `metrics.jsonl`, for each stage into `summary.json`, and into the status that `grpoctl status` and
`watch` show. A metric that does not apply is absent, never 0: a mean over nothing is left out. *Comes together* says what becomes of
the values that micro-batches, updates and ranks have: *once*, rank 0 knows it; *sum*, weighted sums are added up over micro-batches
and ranks, then averaged over the step's updates; *max*, the largest, of the step's first update; *first rank*, rank 0's, averaged over
the step's updates. `token_ids_hash` and `weights_hash`, which `metrics.jsonl` has beside them, are equal wherever a step was the same.

| metric | unit | comes together | meaning |
|---|---|---|---|
)";

absl::string_view Name(MetricUnit unit) {
  switch (unit) {
    case MetricUnit::kNumber:
      return "";
    case MetricUnit::kFraction:
      return "fraction";
    case MetricUnit::kCount:
      return "count";
    case MetricUnit::kTokens:
      return "tokens";
    case MetricUnit::kTokensPerSecond:
      return "tokens/s";
    case MetricUnit::kSeconds:
      return "seconds";
    case MetricUnit::kBytes:
      return "bytes";
    case MetricUnit::kNats:
      return "nats";
  }
  return "";
}

absl::string_view Name(MetricJoin join) {
  switch (join) {
    case MetricJoin::kOnce:
      return "once";
    case MetricJoin::kSum:
      return "sum";
    case MetricJoin::kMax:
      return "max";
    case MetricJoin::kFirstRank:
      return "first rank";
  }
  return "";
}

bool Matches(const MetricInfo& info, absl::string_view name) {
  if (!info.is_family) return name == info.prefix;
  return name.size() > info.prefix.size() + info.suffix.size() && absl::StartsWith(name, info.prefix) &&
         absl::EndsWith(name, info.suffix);
}

}  // namespace

const std::vector<MetricInfo>& ListMetrics() {
  static const auto* metrics = [] {
    auto* list = new std::vector<MetricInfo>{
#define METRIC(constant, name, unit, join, help) {name, name, "", false, MetricUnit::unit, MetricJoin::join, help},
#define METRIC_FAMILY(function, prefix, placeholder, suffix, unit, join, help) \
  {prefix "<" placeholder ">" suffix, prefix, suffix, true, MetricUnit::unit, MetricJoin::join, help},
#include "trainer/records/metrics.inc"
#undef METRIC
#undef METRIC_FAMILY
    };
    if (ToyMetrics != nullptr) {
      for (MetricInfo& toy : ToyMetrics()) list->push_back(std::move(toy));
    }
    return list;
  }();
  return *metrics;
}

const MetricInfo* FindMetric(absl::string_view name) {
  const MetricInfo* family = nullptr;
  for (const MetricInfo& info : ListMetrics()) {
    if (!Matches(info, name)) continue;
    if (!info.is_family) return &info;
    family = &info;
  }
  return family;
}

absl::string_view FamilyPart(const MetricInfo& info, absl::string_view name) {
  if (!info.is_family) return "";
  return name.substr(info.prefix.size(), name.size() - info.prefix.size() - info.suffix.size());
}

std::string MetricsReference() {
  std::string text = kIntroduction;
  for (const MetricInfo& info : ListMetrics()) {
    absl::StrAppend(&text, "| `", info.name, "` | ", Name(info.unit), " | ", Name(info.join), " | ", info.help, " |\n");
  }
  return text;
}

}  // namespace grpo
