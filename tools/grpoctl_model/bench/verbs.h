// The verbs of `grpoctl bench` that need torch: rollout, step, publish.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_VERBS_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_VERBS_H_

#include "CLI/CLI.hpp"

namespace grpo {

// Adds `bench` with its subcommands, each of which leaves its exit code (tools/grpoctl/verb.h).
void AddModelBenchVerbs(CLI::App& app, int* exit_code);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_VERBS_H_
