#include "tools/grpoctl/json_lines.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace grpo {

using nlohmann::json;
using nlohmann::ordered_json;

int64_t MapJsonLines(std::istream& in, std::ostream& out,
                     absl::FunctionRef<absl::StatusOr<ordered_json>(const json&)> answer) {
  int64_t line_number = 0, num_errors = 0;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const json input = json::parse(line, nullptr, /*allow_exceptions=*/false);
    const json id = input.is_object() && input.contains("id") ? input["id"] : json();
    ordered_json output = {{"id", nullptr}};
    absl::StatusOr<ordered_json> answered = absl::InvalidArgumentError("this is no JSON object");
    if (id.is_structured()) {
      answered = absl::InvalidArgumentError("\"id\" is neither a text nor a number");
    } else if (input.is_object()) {
      output["id"] = id;
      answered = answer(input);
    }
    if (answered.ok()) {
      output.update(*answered);
    } else {
      output["error"] = absl::StrCat("line ", line_number, ": ", answered.status().message());
      ++num_errors;
    }
    out << output.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) << "\n";
  }
  out << std::flush;
  return num_errors;
}

absl::StatusOr<std::string> RequiredText(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is missing"));
  if (!found->is_string())
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no text but ", found->type_name()));
  return found->get<std::string>();
}

}  // namespace grpo
