// What a finished run shows at its end: its evaluations side by side, sample completions, seconds per stage, and where
// everything lies.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_CLOSING_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_CLOSING_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// `artifacts` are what the run exports, relative to its folder. NotFound or DataLoss when summary.json is missing or
// broken. CompletionsReader::Select's errors; without a completions.sqlite that can be read there are no samples. Any
// thread.
absl::StatusOr<std::string> ClosingText(const std::string& run_dir, const std::vector<std::string>& artifacts);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_CLOSING_H_
