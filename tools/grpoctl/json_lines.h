// JSON lines in, JSON lines out.
#ifndef GRPO_TOOLS_GRPOCTL_JSON_LINES_H_
#define GRPO_TOOLS_GRPOCTL_JSON_LINES_H_

#include <cstdint>
#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace grpo {

// One input line: what it holds, or why it cannot be used.
struct JsonLine {
  // In the input, from 1; blank lines count.
  int64_t number = 0;
  // The input's "id", null without one. A text, number, bool or null; an "id" of another kind makes the line an error.
  nlohmann::json id;
  // The whole object, "id" included, or InvalidArgument.
  absl::StatusOr<nlohmann::json> object;
};

// The next line that is not blank; nullopt at the end. `number` counts the lines read.
std::optional<JsonLine> NextJsonLine(std::istream& in, int64_t* number);
// The output line for it: {"id", the answer's fields} or {"id","error"}. False for an error. An error names the line's
// number.
bool WriteJsonLine(std::ostream& out, const JsonLine& line, const absl::StatusOr<nlohmann::ordered_json>& answer);

// One output line per input line, in order; blank lines are skipped. `answer` maps an input object to an output object;
// the input's "id" goes into the output in front of it. A line that is no JSON object, or that `answer` refuses, gives
// {"id","error"} and costs no other line. Bytes that are not UTF-8 are written as U+FFFD. Returns the number of lines
// with an error.
int64_t MapJsonLines(std::istream& in, std::ostream& out,
                     absl::FunctionRef<absl::StatusOr<nlohmann::ordered_json>(const nlohmann::json&)> answer);

// The whole numbers under `key`, each from 0 to `limit` - 1. InvalidArgument when it is missing or holds anything else.
absl::StatusOr<std::vector<uint32_t>> RequiredIds(const nlohmann::json& object, const char* key, int64_t limit);
// The text under `key`. InvalidArgument when it is missing or no text.
absl::StatusOr<std::string> RequiredText(const nlohmann::json& object, const char* key);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_JSON_LINES_H_
