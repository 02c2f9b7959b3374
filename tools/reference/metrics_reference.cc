// Prints docs/metrics.md from trainer/records/metrics.inc. tests/generated_docs fails when the committed file differs.
#include <iostream>

#include "trainer/records/metrics.h"

int main() {
  std::cout << grpo::MetricsReference() << std::flush;
  return std::cout ? 0 : 1;
}
