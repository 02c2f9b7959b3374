// Options that all verbs of `grpoctl bench` have.
#ifndef GRPO_TOOLS_GRPOCTL_BENCH_OPTIONS_H_
#define GRPO_TOOLS_GRPOCTL_BENCH_OPTIONS_H_

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "tools/grpoctl/verb.h"

namespace grpo {

// A number of things, from `least` to 2^24; its default is what *value holds.
CLI::Option* AddCount(CLI::App& verb, const std::string& name, int64_t& value, const std::string& help,
                      int64_t least = 1);

// --threads, --seed, --repeats, --output table|json and --json. What is pointed to outlives the parsing.
void AddTimingOptions(CLI::App& verb, int64_t* threads, uint64_t* seed, int64_t* repeats, OutputFormat* format);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_BENCH_OPTIONS_H_
