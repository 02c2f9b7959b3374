// The model of a bench as a policy that learns.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_BENCH_POLICY_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_BENCH_POLICY_H_

#include "absl/status/statusor.h"
#include "tools/grpoctl_model/bench/workload.h"
#include "trainer/policies.h"

namespace grpo {

inline constexpr char kBenchPolicy[] = "bench";

// Lives in `policies`, under kBenchPolicy, with number 0. Errors of LoadBenchModel and PolicyStore::Restore.
absl::StatusOr<Policy*> AddBenchPolicy(const BenchOptions& options, PolicyStore* policies);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_BENCH_POLICY_H_
