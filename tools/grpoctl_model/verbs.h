// The verbs of `grpoctl model`: inspect, tokenize, logprobs, generate, export, prune.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_VERBS_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_VERBS_H_

#include "CLI/CLI.hpp"

namespace grpo {

// Adds `model` with its subcommands, each of which leaves its exit code (tools/grpoctl/verb.h).
void AddModelVerbs(CLI::App& app, int* exit_code);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_VERBS_H_
