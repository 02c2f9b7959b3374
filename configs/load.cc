#include "configs/load.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace grpo {
namespace configs_internal {
namespace {

using Kind = ConfigNode::Kind;

// "12" or "\"twelve\"", cut to a length that fits a message.
std::string Shown(const ConfigNode& node) {
  switch (node.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a group of keys";
    case Kind::kScalar:
      break;
  }
  constexpr size_t kMaxShown = 80;
  const std::string text =
      absl::Utf8SafeCEscape(node.scalar.size() > kMaxShown ? node.scalar.substr(0, kMaxShown) + "..." : node.scalar);
  return node.quoted ? absl::StrCat("the text \"", text, "\"") : text;
}

// Digits, with a point and an exponent if `real`; an optional sign. YAML's other numbers (hexadecimal, .inf, 1_000) are
// refused.
bool LooksLikeNumber(absl::string_view text, bool real) {
  size_t i = 0;
  size_t digits = 0;
  const auto skip_digits = [&] {
    for (; i < text.size() && absl::ascii_isdigit(text[i]); ++i) ++digits;
  };
  const auto skip_sign = [&] {
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  };
  skip_sign();
  skip_digits();
  if (real && i < text.size() && text[i] == '.') {
    ++i;
    skip_digits();
  }
  if (digits == 0) return false;
  if (real && i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    skip_sign();
    digits = 0;
    skip_digits();
    if (digits == 0) return false;
  }
  return i == text.size();
}

// Of a plain scalar; an error and false otherwise.
bool ExpectPlain(const ConfigNode& node, const std::string& path, absl::string_view wanted, ErrorSink* errors) {
  if (node.kind == Kind::kScalar && !node.quoted) return true;
  errors->Add(node.place, path,
              absl::StrCat("is ", Shown(node), "; write ", wanted, node.quoted ? " without quotes" : ""));
  return false;
}

std::string ShownBound(double bound) {
  return absl::StrFormat("%.15g", bound);
}

bool CheckRange(const ConfigNode& node, const std::string& path, double value, const Doc& doc, ErrorSink* errors) {
  if (value >= doc.min && value <= doc.max) return true;
  std::string range = std::isinf(doc.max) ? absl::StrCat("at least ", ShownBound(doc.min))
                      : std::isinf(doc.min)
                          ? absl::StrCat("at most ", ShownBound(doc.max))
                          : absl::StrCat("between ", ShownBound(doc.min), " and ", ShownBound(doc.max));
  errors->Add(node.place, path,
              absl::StrCat("is ", Shown(node), "; it must be ", range, doc.unit[0] ? " " : "", doc.unit));
  return false;
}

}  // namespace

std::string JoinPath(const std::string& path, absl::string_view key) {
  return path.empty() ? std::string(key) : absl::StrCat(path, ".", key);
}

void ErrorSink::Add(const std::string& place, const std::string& path, absl::string_view message) {
  messages_.push_back(absl::StrJoin({place.empty() ? std::string("configuration") : place,
                                     path.empty() ? std::string("the whole") : path, std::string(message)},
                                    ": "));
}

absl::Status ErrorSink::status() const {
  if (messages_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(messages_, "\n"));
}

MapReader::MapReader(const ConfigNode* node, std::string path, std::vector<std::string> outer_keys, ErrorSink* errors)
    : node_(node), path_(std::move(path)), outer_keys_(std::move(outer_keys)), errors_(errors) {
  if (node_ != nullptr) readable_ = ExpectMap(*node_, path_, errors_);
}

const ConfigEntry* MapReader::Take(const char* key, const Doc& doc) {
  declared_.push_back(key);
  const ConfigEntry* entry = node_ == nullptr ? nullptr : node_->Find(key);
  if (entry == nullptr && doc.required && readable_) {
    errors_->Add(node_ == nullptr ? "" : node_->place, JoinPath(path_, key),
                 absl::StrCat("is missing; add it (", doc.help, ")"));
  }
  return entry;
}

void MapReader::Finish() {
  if (node_ == nullptr || !readable_) return;
  std::vector<std::string> known = declared_;
  known.insert(known.end(), outer_keys_.begin(), outer_keys_.end());
  auto rest = std::make_shared<ConfigNode>();
  rest->kind = Kind::kMap;
  rest->place = node_->place;
  for (const ConfigEntry& entry : node_->entries) {
    if (std::find(declared_.begin(), declared_.end(), entry.key) != declared_.end()) continue;
    if (rest_ != nullptr) {
      rest->entries.push_back(entry);
    } else {
      errors_->Add(entry.place, JoinPath(path_, absl::Utf8SafeCEscape(entry.key)),
                   absl::StrCat("unknown key; ", SuggestName(entry.key, known)));
    }
  }
  if (rest_ != nullptr) *rest_ = Section(std::move(rest), path_, std::move(known));
}

void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, bool* value) {
  if (!ExpectPlain(node, path, "true or false", errors)) return;
  if (node.scalar == "true" || node.scalar == "false") {
    *value = node.scalar == "true";
  } else {
    errors->Add(node.place, path, absl::StrCat("is ", Shown(node), "; write true or false"));
  }
}

void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, int64_t* value) {
  if (!ExpectPlain(node, path, "a whole number", errors)) return;
  int64_t parsed = 0;
  if (LooksLikeNumber(node.scalar, /*real=*/false) && absl::SimpleAtoi(node.scalar, &parsed)) {
    if (CheckRange(node, path, static_cast<double>(parsed), doc, errors)) *value = parsed;
    return;
  }
  double real = 0;
  std::string hint = "; write a whole number";
  if (LooksLikeNumber(node.scalar, /*real=*/true) && absl::SimpleAtod(node.scalar, &real) && std::abs(real) < 1e15 &&
      real == std::floor(real)) {
    absl::StrAppend(&hint, " without point or exponent: ", static_cast<int64_t>(real));
  }
  errors->Add(node.place, path, absl::StrCat("is ", Shown(node), hint));
}

void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, double* value) {
  if (!ExpectPlain(node, path, "a number", errors)) return;
  double parsed = 0;
  if (!LooksLikeNumber(node.scalar, /*real=*/true) || !absl::SimpleAtod(node.scalar, &parsed) ||
      !std::isfinite(parsed)) {
    errors->Add(node.place, path,
                absl::StrCat("is ", Shown(node), "; write a finite decimal number, such as 0.1 or 1e-4"));
    return;
  }
  if (CheckRange(node, path, parsed, doc, errors)) *value = parsed;
}

void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors,
                std::string* value) {
  if (node.kind != Kind::kScalar) {
    errors->Add(node.place, path, absl::StrCat("is ", Shown(node), "; write a text (\"\" for an empty one)"));
    return;
  }
  const std::vector<std::string> choices(doc.choices.begin(), doc.choices.end());
  if (!choices.empty() && std::find(choices.begin(), choices.end(), node.scalar) == choices.end()) {
    errors->Add(node.place, path,
                absl::StrCat("is ", Shown(node), "; it must be one of ", absl::StrJoin(choices, ", ")));
    return;
  }
  *value = node.scalar;
}

bool ExpectList(const ConfigNode& node, const std::string& path, ErrorSink* errors) {
  if (node.kind == Kind::kNull || node.kind == Kind::kList) return true;
  errors->Add(node.place, path,
              absl::StrCat("is ", Shown(node), "; write a list, such as [a, b] or lines that start with -"));
  return false;
}

bool ExpectMap(const ConfigNode& node, const std::string& path, ErrorSink* errors) {
  if (node.kind == Kind::kNull || node.kind == Kind::kMap) return true;
  errors->Add(node.place, path, absl::StrCat("is ", Shown(node), "; write keys with values, such as {key: value}"));
  return false;
}

void CheckElementName(const ConfigEntry& entry, const std::string& path, ErrorSink* errors) {
  const auto allowed = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; };
  if (!entry.key.empty() && std::all_of(entry.key.begin(), entry.key.end(), allowed)) return;
  errors->Add(
      entry.place, path,
      absl::StrCat("\"", absl::Utf8SafeCEscape(entry.key), "\" cannot be a name; use letters, digits, _ and -"));
}

}  // namespace configs_internal

namespace {

// Levenshtein, one row at a time.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string SuggestName(absl::string_view given, const std::vector<std::string>& candidates) {
  if (candidates.empty()) return "none is known here";
  // A third of the letters may differ; far longer texts are not worth the time.
  size_t best_distance = given.size() / 3 + 2;
  const std::string* best = nullptr;
  for (const std::string& candidate : candidates) {
    if (given.size() > 2 * candidate.size() + 8) continue;
    const size_t distance = EditDistance(given, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = &candidate;
    }
  }
  if (best != nullptr) return absl::StrCat("did you mean ", *best, "?");
  return absl::StrCat("known are ", absl::StrJoin(candidates, ", "));
}

std::optional<std::string> SectionText(const Section& section, absl::string_view key) {
  const ConfigEntry* entry = section.node() == nullptr ? nullptr : section.node()->Find(key);
  if (entry == nullptr || entry->value.kind != ConfigNode::Kind::kScalar) return std::nullopt;
  return entry->value.scalar;
}

namespace {

Section WithScalar(const Section& section, absl::string_view key, ConfigNode scalar) {
  auto node = std::make_shared<ConfigNode>();
  if (section.node() != nullptr) *node = *section.node();
  node->kind = ConfigNode::Kind::kMap;
  if (node->Find(key) == nullptr) {
    node->entries.push_back({.key = std::string(key), .place = node->place, .value = {.place = node->place}});
  }
  ConfigNode& value = node->Find(key)->value;
  scalar.place = value.place;
  value = std::move(scalar);
  return Section(std::move(node), section.key_path(), section.outer_keys());
}

}  // namespace

Section WithText(const Section& section, absl::string_view key, const std::string& text) {
  return WithScalar(section, key, configs_internal::ScalarNode(text));
}

Section WithNumber(const Section& section, absl::string_view key, double number) {
  return WithScalar(section, key, configs_internal::ScalarNode(number));
}

absl::Status SectionError(const Section& section, absl::string_view key, absl::string_view message) {
  std::string place = section.node() == nullptr ? "" : section.node()->place;
  const ConfigNode* node = section.node();
  for (const absl::string_view part : absl::StrSplit(key, '.', absl::SkipEmpty())) {
    size_t index = 0;
    if (node == nullptr) break;
    if (node->kind == ConfigNode::Kind::kList && absl::SimpleAtoi(part, &index) && index < node->entries.size()) {
      node = &node->entries[index].value;
    } else {
      const ConfigEntry* entry = node->Find(part);
      node = entry == nullptr ? nullptr : &entry->value;
    }
    if (node != nullptr && !node->place.empty()) place = node->place;
  }
  configs_internal::ErrorSink errors;
  errors.Add(place, key.empty() ? section.key_path() : configs_internal::JoinPath(section.key_path(), key), message);
  return errors.status();
}

absl::Status JoinErrors(const std::vector<absl::Status>& statuses) {
  absl::Status joined;
  for (const absl::Status& status : statuses) {
    if (status.ok()) continue;
    joined = joined.ok() ? status : absl::Status(joined.code(), absl::StrCat(joined.message(), "\n", status.message()));
  }
  return joined;
}

}  // namespace grpo
