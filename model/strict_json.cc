#include "model/strict_json.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace grpo {

namespace {

// As deep as other readers go, too (serde_json). Destroying or printing a value recurses into it.
constexpr int kMaxDepth = 127;

// Whether brackets outside of texts are open deeper than kMaxDepth, found before anything is built.
bool IsTooDeep(absl::string_view text) {
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_text = !in_text;
    if (in_text) {
      if (c == '\\') ++i;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text, absl::string_view what) {
  using nlohmann::json;
  if (IsTooDeep(text)) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is nested deeper than ", kMaxDepth, " levels"));
  }
  std::vector<std::set<std::string>> open_objects;
  std::string repeated_key;
  bool repeated = false;
  const auto watch_keys = [&](int /*depth*/, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key && !open_objects.back().insert(parsed.get_ref<const std::string&>()).second) {
      repeated = true;
      repeated_key = parsed.get<std::string>();
    }
    return true;
  };
  json value = json::parse(text.begin(), text.end(), watch_keys, /*allow_exceptions=*/false);
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
