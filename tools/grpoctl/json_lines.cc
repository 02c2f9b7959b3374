#include "tools/grpoctl/json_lines.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grpo {

using nlohmann::json;
using nlohmann::ordered_json;

std::optional<JsonLine> NextJsonLine(std::istream& in, int64_t* number) {
  for (std::string text; std::getline(in, text);) {
    ++*number;
    if (absl::StripAsciiWhitespace(text).empty()) continue;
    JsonLine line = {.number = *number, .id = nullptr, .object = absl::InvalidArgumentError("this is no JSON object")};
    json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
    // The library takes a zero byte for the end of the text, whatever follows.
    if (!parsed.is_object() || absl::StrContains(text, '\0')) return line;
    json id = parsed.contains("id") ? parsed["id"] : json();
    if (id.is_structured()) {
      line.object = absl::InvalidArgumentError("\"id\" is neither a text nor a number");
    } else {
      line.id = std::move(id);
      line.object = std::move(parsed);
    }
    return line;
  }
  return std::nullopt;
}

bool WriteJsonLine(std::ostream& out, const JsonLine& line, const absl::StatusOr<ordered_json>& answer) {
  ordered_json output = {{"id", line.id}};
  if (answer.ok()) {
    output.update(*answer);
  } else {
    output["error"] = absl::StrCat("line ", line.number, ": ", answer.status().message());
  }
  out << output.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) << "\n";
  return answer.ok();
}

int64_t MapJsonLines(std::istream& in, std::ostream& out,
                     absl::FunctionRef<absl::StatusOr<ordered_json>(const json&)> answer) {
  int64_t number = 0, num_errors = 0;
  // What nobody can read is not computed.
  while (out) {
    const std::optional<JsonLine> line = NextJsonLine(in, &number);
    if (!line.has_value()) break;
    const absl::StatusOr<ordered_json> answered =
        line->object.ok() ? answer(*line->object) : absl::StatusOr<ordered_json>(line->object.status());
    num_errors += !WriteJsonLine(out, *line, answered);
  }
  return num_errors;
}

absl::StatusOr<std::vector<uint32_t>> RequiredIds(const json& object, const char* key, int64_t limit) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is missing"));
  if (!found->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no list but ", found->type_name()));
  }
  std::vector<uint32_t> ids;
  for (const json& id : *found) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(limit)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", key, "\" holds ", id.dump(), ", expected token ids from 0 to ", limit - 1));
    }
    ids.push_back(id.get<uint32_t>());
  }
  return ids;
}

absl::StatusOr<std::string> RequiredText(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is missing"));
  if (!found->is_string())
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no text but ", found->type_name()));
  return found->get<std::string>();
}

}  // namespace grpo
