#include "data/record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "configs/load.h"

namespace grpo {
namespace {

// Keeps nlohmann's words for what is wrong with a text, which parsing without exceptions drops.
class ErrorReader : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception...] parse error at line 1, column 9: syntax error ... - invalid literal; last read: '...'": the
    // last read bytes may be anything, so they are cut, and so are the internals in front.
    absl::string_view what = error.what();
    what = what.substr(0, what.find("; last read"));
    what.remove_prefix(std::min(what.find("] ") + 2, what.size()));
    if (absl::StartsWith(what, "parse error at ")) what.remove_prefix(std::min(what.find(": ") + 2, what.size()));
    message_ = absl::StrCat("byte ", position, ": ", what);
    return false;
  }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

bool IsDeeperThan(const Json& json, int depth) {
  if (!json.is_structured()) return false;
  return depth == 0 ||
         std::any_of(json.begin(), json.end(), [&](const Json& part) { return IsDeeperThan(part, depth - 1); });
}

absl::Status TooDeep(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " is nested deeper than ", kMaxRecordDepth, " levels"));
}

// The element that a path's part names; null when there is none.
const Json* Element(const Json& json, absl::string_view part) {
  if (json.is_object()) {
    const auto found = json.find(std::string(part));
    return found == json.end() ? nullptr : &*found;
  }
  int64_t index = 0;
  if (!json.is_array() || !absl::SimpleAtoi(part, &index)) return nullptr;
  const auto size = static_cast<int64_t>(json.size());
  if (index < 0) index += size;
  return index < 0 || index >= size ? nullptr : &json[static_cast<size_t>(index)];
}

// The object or list that holds the last part of the path, and that part.
std::pair<const Json*, absl::string_view> Locate(const Json& record, absl::string_view path) {
  if (record.contains(std::string(path))) return {&record, path};
  const size_t last = path.rfind('.');
  const Json* holder = &record;
  if (last == absl::string_view::npos) return {holder, path};
  for (const absl::string_view part : absl::StrSplit(path.substr(0, last), '.')) {
    holder = Element(*holder, part);
    if (holder == nullptr) break;
  }
  return {holder, path.substr(last + 1)};
}

// 2^53: a double tells apart all whole numbers up to here.
constexpr double kExactDouble = 9007199254740992.0;
constexpr double kLeastPlain = 1e-6;

absl::StatusOr<std::string> NumberText(const Json& number) {
  if (number.is_number_integer()) return number.dump();
  const double value = number.get<double>();
  if (!(std::abs(value) < kExactDouble)) {
    return absl::InvalidArgumentError(
        "is a number too large to keep all its digits, which a text would: put it in quotes");
  }
  const bool plain = value == 0 || std::abs(value) >= kLeastPlain;
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.begin(), buffer.end(), value,
                                          plain ? std::chars_format::fixed : std::chars_format::scientific);
  const std::string text(buffer.begin(), end);
  return text == "-0" ? "0" : text;
}

absl::StatusOr<std::vector<std::string>> ElementTexts(const Json& list) {
  std::vector<std::string> texts;
  for (const Json& element : list) {
    ASSIGN_OR_RETURN(texts.emplace_back(), FieldText(element));
  }
  return texts;
}

bool IsFlatList(const Json& field) {
  return field.is_array() && std::none_of(field.begin(), field.end(), [](const Json& element) {
           return element.is_structured() || element.is_null();
         });
}

}  // namespace

absl::StatusOr<Json> ParseRecord(absl::string_view text, absl::string_view what) {
  std::set<std::string> keys;
  std::string twice;
  bool too_deep = false;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    too_deep |= depth > kMaxRecordDepth;
    // What is left out here is never built, so nothing later can recurse into it.
    return depth <= kMaxRecordDepth;
  };
  // The library takes one for the end of the text, whatever follows.
  if (const size_t zero = text.find('\0'); zero != text.npos)
    return absl::InvalidArgumentError(absl::StrCat(what, " is not JSON: byte ", zero + 1, ": a zero byte"));
  Json json = Json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    ErrorReader reader;
    Json::sax_parse(text.begin(), text.end(), &reader);
    return absl::InvalidArgumentError(absl::StrCat(what, " is not JSON: ", reader.message()));
  }
  if (!json.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is JSON but no object: write {\"problem\": ..., \"answer\": ...}"));
  }
  if (too_deep) return TooDeep(what);
  if (!twice.empty()) return absl::InvalidArgumentError(absl::StrCat("the field \"", twice, "\" stands there twice"));
  return json;
}

absl::Status CheckDepth(const Json& record) {
  return IsDeeperThan(record, kMaxRecordDepth) ? TooDeep("this row") : absl::OkStatus();
}

const Json* FindField(const Json& record, absl::string_view path) {
  const auto [holder, name] = Locate(record, path);
  return holder == nullptr ? nullptr : Element(*holder, name);
}

void EraseField(Json& record, absl::string_view path) {
  const auto [holder, name] = Locate(record, path);
  if (holder != nullptr && holder->is_object()) const_cast<Json*>(holder)->erase(std::string(name));
}

std::string SuggestField(const Json& record, absl::string_view path) {
  std::vector<std::string> known;
  for (const auto& [name, value] : record.items()) known.push_back(name);
  return SuggestName(path, known);
}

bool IsMessageList(const Json& field) {
  return field.is_array() && !field.empty() && std::all_of(field.begin(), field.end(), [](const Json& message) {
           return message.is_object() && message.contains("role") && message.contains("content");
         });
}

absl::StatusOr<std::string> FieldText(const Json& field) {
  if (field.is_string()) return field.get<std::string>();
  if (field.is_boolean()) return field.get<bool>() ? "true" : "false";
  if (field.is_number()) return NumberText(field);
  if (field.is_null()) return absl::InvalidArgumentError("is null");
  if (IsMessageList(field)) {
    return absl::InvalidArgumentError(
        "is a list of chat messages, and chat templates are not applied: name the text that is meant by its path, such "
        "as \"FIELD.0.content\", or \"FIELD.-1.content\" for the last message's");
  }
  if (!IsFlatList(field)) return field.dump();
  std::vector<std::string> texts;
  for (const Json& element : field) {
    ASSIGN_OR_RETURN(texts.emplace_back(), element.is_string() ? element.dump() : FieldText(element));
  }
  return absl::StrCat("[", absl::StrJoin(texts, ", "), "]");
}

absl::StatusOr<std::string> AnswerText(const Json& field) {
  if (!IsFlatList(field)) return FieldText(field);
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, ElementTexts(field));
  return absl::StrJoin(texts, ", ");
}

}  // namespace grpo
