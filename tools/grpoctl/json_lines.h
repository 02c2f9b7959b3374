// JSON lines in, JSON lines out.
#ifndef GRPO_TOOLS_GRPOCTL_JSON_LINES_H_
#define GRPO_TOOLS_GRPOCTL_JSON_LINES_H_

#include <cstdint>
#include <istream>
#include <ostream>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace grpo {

// One output line per input line, in order; blank lines are skipped. `answer` maps an input object to an output object;
// the input's "id" goes into the output in front of it. A line that is no JSON object, or that `answer` refuses, gives
// {"id","error"} and costs no other line. Bytes that are not UTF-8 are written as U+FFFD. Returns the number of lines
// with an error.
int64_t MapJsonLines(std::istream& in, std::ostream& out,
                     absl::FunctionRef<absl::StatusOr<nlohmann::ordered_json>(const nlohmann::json&)> answer);

// The text under `key`. InvalidArgument when it is missing or no text.
absl::StatusOr<std::string> RequiredText(const nlohmann::json& object, const char* key);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_JSON_LINES_H_
