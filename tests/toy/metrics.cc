#include "trainer/records/metrics.h"

namespace grpo {

std::vector<MetricInfo> ToyMetrics() {
  return {
#define METRIC(constant, name, unit, join, help) {name, name, "", false, MetricUnit::unit, MetricJoin::join, help},
#include "tests/toy/metrics.inc"
#undef METRIC
  };
}

}  // namespace grpo
