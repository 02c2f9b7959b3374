#include "tools/launch/kubernetes/yaml_text.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/utf8.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kIndent = 2;

// Whether YAML, old or new, reads the text without quotes as this text. Says no for many of which it does.
bool IsPlain(absl::string_view text) {
  static const auto* const words =
      new std::set<std::string>{"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  if (text.empty() || (!absl::ascii_isalpha(text[0]) && text[0] != '/')) return false;
  const auto harmless = [](char c) { return absl::ascii_isalnum(c) || absl::StrContains("_./-", c); };
  return std::all_of(text.begin(), text.end(), harmless) && words->count(absl::AsciiStrToLower(text)) == 0;
}

// Whether it can stand as it is, a line below the other: whole lines, with one break at the end.
bool IsBlock(absl::string_view text) {
  if (text.size() < 2 || text.front() == ' ' || text.front() == '\n' || !absl::EndsWith(text, "\n")) return false;
  text.remove_suffix(1);
  if (absl::EndsWith(text, "\n")) return false;
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  return std::all_of(lines.begin(), lines.end(), IsPrintable);
}

// In one line. What JSON writes is YAML, too.
std::string OneLine(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string& text = value.get_ref<const std::string&>();
  if (IsPlain(text)) return text;
  return value.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/!IsPrintable(text), Json::error_handler_t::replace);
}

void AppendLines(const Json& node, size_t indent, std::string* out);

// Behind a key.
void AppendValue(const Json& value, size_t indent, std::string* out) {
  if (value.is_structured() && !value.empty()) {
    absl::StrAppend(out, "\n");
    AppendLines(value, indent, out);
    return;
  }
  if (!value.is_string() || !IsBlock(value.get_ref<const std::string&>())) {
    absl::StrAppend(out, " ", OneLine(value), "\n");
    return;
  }
  absl::StrAppend(out, " |\n");
  absl::string_view text = value.get_ref<const std::string&>();
  text.remove_suffix(1);
  for (const absl::string_view line : absl::StrSplit(text, '\n'))
    absl::StrAppend(out, line.empty() ? "" : std::string(indent, ' '), line, "\n");
}

// A map or list that is not empty.
void AppendLines(const Json& node, size_t indent, std::string* out) {
  const std::string margin(indent, ' ');
  if (node.is_object()) {
    for (const auto& [key, value] : node.items()) {
      absl::StrAppend(out, margin, OneLine(Json(key)), ":");
      AppendValue(value, indent + kIndent, out);
    }
    return;
  }
  for (const Json& element : node) {
    if (!element.is_structured() || element.empty()) {
      absl::StrAppend(out, margin, "- ", OneLine(element), "\n");
      continue;
    }
    // The first line's margin has room for the dash.
    std::string lines;
    AppendLines(element, indent + kIndent, &lines);
    lines[indent] = '-';
    absl::StrAppend(out, lines);
  }
}

}  // namespace

std::string YamlText(const std::vector<nlohmann::ordered_json>& documents) {
  std::string text;
  for (const Json& document : documents) {
    if (!text.empty()) absl::StrAppend(&text, "---\n");
    AppendLines(document, 0, &text);
  }
  return text;
}

}  // namespace grpo
