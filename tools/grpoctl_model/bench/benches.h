// `grpoctl bench rollout|step|publish`: each does its fixed work with the service's own parts and reports.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_BENCHES_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_BENCHES_H_

#include "absl/status/statusor.h"
#include "tools/grpoctl/bench/report.h"
#include "tools/grpoctl_model/bench/workload.h"

namespace grpo {

// All: after UseThreads(options.threads), on the calling thread. InvalidArgument for a model that cannot do the work,
// errors of LoadBenchModel and of the parts that are measured.

// Samples prompts x group completions with the engine. Phases: Engine::seconds, and "other" (bookkeeping).
absl::StatusOr<BenchReport> BenchRollout(const BenchOptions& options);

// A trainer's step on groups that are there already: from the algorithm (grpo) to the hash of the new weights. Phases:
// "update/prepare", and the metrics of where update_seconds goes, as "update/forward". With options.whole the groups
// are published, sampled and scored first (LocalService, with its phases).
absl::StatusOr<BenchReport> BenchStep(const BenchOptions& options);

// A new version of the weights on its way to a worker: from the update's end until its first token is there. Phases:
// "pack", "transfer", "start" (LocalService), "first_step". `ready_seconds` is their sum without the last one.
absl::StatusOr<BenchReport> BenchPublish(const BenchOptions& options);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_BENCHES_H_
