#include "model/strict_json.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace grpo {
namespace {

// Copying and writing out a value goes into itself once for each level.
constexpr int kMaxDepth = 100;

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text, absl::string_view what) {
  using nlohmann::json;
  // The library takes one for the end of the text, whatever follows.
  if (const size_t zero = text.find('\0'); zero != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is not valid JSON: byte ", zero, " of ", text.size(),
                                                   " is zero, as where a part is missing"));
  }
  std::vector<std::set<std::string>> open_objects;
  std::string repeated_key;
  bool repeated = false, too_deep = false;
  const auto watch_keys = [&](int depth, json::parse_event_t event, json& parsed) {
    too_deep = too_deep || depth > kMaxDepth;
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key && !open_objects.back().insert(parsed.get_ref<const std::string&>()).second) {
      repeated = true;
      repeated_key = parsed.get<std::string>();
    }
    return !too_deep;
  };
  json value = json::parse(text.begin(), text.end(), watch_keys, /*allow_exceptions=*/false);
  if (too_deep) return absl::InvalidArgumentError(absl::StrCat(what, " is nested deeper than ", kMaxDepth, " levels"));
  if (value.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(what, " is not valid JSON in UTF-8"));
  if (!value.is_object())
    return absl::InvalidArgumentError(absl::StrCat(what, " is not a JSON object but ", value.type_name()));
  if (repeated) return absl::InvalidArgumentError(absl::StrCat(what, " has the key \"", repeated_key, "\" twice"));
  return value;
}

std::string ShowJson(const nlohmann::json& value) {
  constexpr size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

}  // namespace grpo
