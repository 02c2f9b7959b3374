// ConfigNode to YAML text, and the rows of the reference.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "configs/load.h"

namespace grpo::configs_internal {
namespace {

using Kind = ConfigNode::Kind;

// A double-quoted YAML scalar. Bytes above ASCII pass as they are.
std::string Quote(const std::string& text) {
  std::string quoted = "\"";
  for (const unsigned char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', static_cast<char>(c)};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&quoted, "\\x%02x", c);
    } else {
      quoted += static_cast<char>(c);
    }
  }
  return quoted + "\"";
}

// Whether the text reads back as itself, on any line, without quotes.
bool IsPlain(const std::string& text) {
  const auto allowed = [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '+' || c == '-';
  };
  return std::all_of(text.begin(), text.end(), allowed) && std::any_of(text.begin(), text.end(), absl::ascii_isalnum);
}

std::string ScalarYaml(const ConfigNode& node) {
  if (node.kind == Kind::kNull) return "null";
  return !node.quoted && IsPlain(node.scalar) ? node.scalar : Quote(node.scalar);
}

// The node's value after "key:" or "-", with its line end.
void EmitValue(const ConfigNode& node, int indent, bool in_list, std::string* yaml);

void EmitEntries(const ConfigNode& map, int indent, bool first_indented, std::string* yaml) {
  for (const ConfigEntry& entry : map.entries) {
    if (!first_indented) yaml->append(indent, ' ');
    first_indented = false;
    // A key such as null or true must stay a text.
    absl::StrAppend(
        yaml, IsPlain(entry.key) && !absl::EqualsIgnoreCase(entry.key, "null") ? entry.key : Quote(entry.key), ":");
    EmitValue(entry.value, indent, /*in_list=*/false, yaml);
  }
}

void EmitValue(const ConfigNode& node, int indent, bool in_list, std::string* yaml) {
  if (node.kind == Kind::kNull || node.kind == Kind::kScalar) {
    absl::StrAppend(yaml, " ", ScalarYaml(node), "\n");
  } else if (node.entries.empty()) {
    absl::StrAppend(yaml, node.kind == Kind::kList ? " []\n" : " {}\n");
  } else if (node.kind == Kind::kMap) {
    yaml->append(in_list ? " " : "\n");
    EmitEntries(node, indent + 2, /*first_indented=*/in_list, yaml);
  } else {
    yaml->append("\n");
    for (const ConfigEntry& entry : node.entries) {
      absl::StrAppend(yaml, std::string(indent + 2, ' '), "-");
      EmitValue(entry.value, indent + 2, /*in_list=*/true, yaml);
    }
  }
}

std::string Bound(double bound) {
  return absl::StrFormat("%.15g", bound);
}

std::string RangeText(const Doc& doc) {
  if (!doc.choices.empty()) return absl::StrJoin(doc.choices, ", ");
  if (std::isinf(doc.min) && std::isinf(doc.max)) return "";
  if (std::isinf(doc.max)) return absl::StrCat("at least ", Bound(doc.min));
  if (std::isinf(doc.min)) return absl::StrCat("at most ", Bound(doc.max));
  return absl::StrCat(Bound(doc.min), " to ", Bound(doc.max));
}

// A table's cell; `code` stands between backticks, where < needs no escape.
std::string Cell(absl::string_view text, bool code = false) {
  const std::string cell = absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}});
  return code ? absl::StrCat("`", cell, "`") : absl::StrReplaceAll(cell, {{"<", "&lt;"}});
}

}  // namespace

ConfigNode ScalarNode(bool value) {
  return {.kind = Kind::kScalar, .scalar = value ? "true" : "false"};
}
ConfigNode ScalarNode(int64_t value) {
  return {.kind = Kind::kScalar, .scalar = absl::StrCat(value)};
}
ConfigNode ScalarNode(double value) {
  // 15 digits, or as many more as it takes to read back as the same number.
  std::string text;
  for (int digits = 15; digits <= 17; ++digits) {
    text = absl::StrFormat("%.*g", digits, value);
    if (std::strtod(text.c_str(), nullptr) == value) break;
  }
  return {.kind = Kind::kScalar, .scalar = text};
}
ConfigNode ScalarNode(const std::string& value) {
  return {.kind = Kind::kScalar, .scalar = value, .quoted = true};
}

std::string EmitYaml(const ConfigNode& map) {
  if (map.entries.empty()) return "{}\n";
  std::string yaml;
  EmitEntries(map, 0, /*first_indented=*/false, &yaml);
  return yaml;
}

std::string ReferenceHeader() {
  return "| Key | Default | Unit | Range or choices | Meaning |\n|---|---|---|---|---|\n";
}

std::string ReferenceRow(const std::string& key, const std::string& value, const Doc& doc) {
  const std::string shown = doc.required ? "required" : value.empty() ? "" : Cell(value, /*code=*/true);
  return absl::StrCat("| `", key, "` | ", shown, " | ", Cell(doc.unit), " | ", Cell(RangeText(doc)), " | ",
                      Cell(doc.help), " |\n");
}

std::string InlineYaml(const ConfigNode& node) {
  return ScalarYaml(node);
}

}  // namespace grpo::configs_internal
