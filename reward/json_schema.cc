#include "reward/json_schema.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr int kMaxDepth = 32;
constexpr int kMaxProgramSize = 1000;

absl::Status Bad(const std::string& place, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("schema ", place.empty() ? "" : place + " ", what));
}

// Characters, as the standard counts; nlohmann's parser has checked that it is UTF-8.
size_t NumCharacters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

bool HasType(const nlohmann::json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == static_cast<double>(static_cast<int64_t>(
                                                                  std::clamp(value.get<double>(), -9e15, 9e15))));
  }
  if (type == "number") return value.is_number();
  return value.type_name() == type;
}

absl::StatusOr<double> NumberOf(const nlohmann::json& value, const std::string& place) {
  if (!value.is_number()) return Bad(place, "is no number");
  return value.get<double>();
}

absl::StatusOr<size_t> CountOf(const nlohmann::json& value, const std::string& place) {
  if (!value.is_number_unsigned()) return Bad(place, "is no whole number from 0 on");
  return value.get<size_t>();
}

absl::StatusOr<std::vector<std::string>> TextsOf(const nlohmann::json& value, const std::string& place) {
  std::vector<std::string> texts;
  if (value.is_string()) return std::vector<std::string>{value.get<std::string>()};
  if (!value.is_array()) return Bad(place, "is no list of texts");
  for (const auto& text : value) {
    if (!text.is_string()) return Bad(place, "holds something else than texts");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JsonSchema>> JsonSchema::Make(const Json& schema) {
  return Make(schema, "", 0);
}

absl::StatusOr<JsonSchema::Pointer> JsonSchema::Make(const Json& schema, const std::string& place, int depth) {
  if (depth > kMaxDepth) return Bad(place, absl::StrCat("is nested deeper than ", kMaxDepth));
  Pointer made(new JsonSchema);
  if (schema.is_boolean()) {
    made->never_ = !schema.get<bool>();
    return made;
  }
  if (!schema.is_object()) return Bad(place, "is neither an object nor true or false");
  for (const auto& [keyword, value] : schema.items()) {
    RETURN_IF_ERROR(made->Read(keyword, value, place.empty() ? keyword : absl::StrCat(place, ".", keyword), depth + 1));
  }
  return made;
}

absl::Status JsonSchema::Read(const std::string& keyword, const Json& value, const std::string& place, int depth) {
  if (keyword == "type") {
    ASSIGN_OR_RETURN(types_, TextsOf(value, place));
    for (const std::string& type : types_) {
      constexpr absl::string_view kTypes[] = {"null", "boolean", "object", "array", "number", "string", "integer"};
      if (std::find(std::begin(kTypes), std::end(kTypes), type) == std::end(kTypes)) {
        return Bad(place, absl::StrCat("\"", type, "\" is no type of JSON"));
      }
    }
  } else if (keyword == "enum") {
    if (!value.is_array()) return Bad(place, "is no list");
    choices_ = value.get<std::vector<Json>>();
  } else if (keyword == "const") {
    choices_ = std::vector<Json>{value};
  } else if (keyword == "properties") {
    if (!value.is_object()) return Bad(place, "is no object");
    for (const auto& [name, schema] : value.items()) {
      ASSIGN_OR_RETURN(properties_[name], Make(schema, absl::StrCat(place, ".", name), depth));
    }
  } else if (keyword == "required") {
    ASSIGN_OR_RETURN(required_, TextsOf(value, place));
  } else if (keyword == "additionalProperties") {
    ASSIGN_OR_RETURN(additional_, Make(value, place, depth));
  } else if (keyword == "items") {
    ASSIGN_OR_RETURN(items_, Make(value, place, depth));
  } else if (keyword == "not") {
    ASSIGN_OR_RETURN(not_, Make(value, place, depth));
  } else if (keyword == "anyOf" || keyword == "allOf") {
    if (!value.is_array()) return Bad(place, "is no list");
    for (const auto& schema : value) {
      ASSIGN_OR_RETURN((keyword == "anyOf" ? any_of_ : all_of_).emplace_back(), Make(schema, place, depth));
    }
  } else if (keyword == "minimum") {
    ASSIGN_OR_RETURN(minimum_, NumberOf(value, place));
  } else if (keyword == "maximum") {
    ASSIGN_OR_RETURN(maximum_, NumberOf(value, place));
  } else if (keyword == "exclusiveMinimum") {
    ASSIGN_OR_RETURN(exclusive_minimum_, NumberOf(value, place));
  } else if (keyword == "exclusiveMaximum") {
    ASSIGN_OR_RETURN(exclusive_maximum_, NumberOf(value, place));
  } else if (keyword == "minItems") {
    ASSIGN_OR_RETURN(min_items_, CountOf(value, place));
  } else if (keyword == "maxItems") {
    ASSIGN_OR_RETURN(max_items_, CountOf(value, place));
  } else if (keyword == "minLength") {
    ASSIGN_OR_RETURN(min_length_, CountOf(value, place));
  } else if (keyword == "maxLength") {
    ASSIGN_OR_RETURN(max_length_, CountOf(value, place));
  } else if (keyword == "pattern") {
    if (!value.is_string()) return Bad(place, "is no text");
    RE2::Options options;
    options.set_log_errors(false);
    pattern_ = std::make_unique<RE2>(value.get<std::string>(), options);
    if (!pattern_->ok()) return Bad(place, absl::StrCat("is none of RE2's: ", pattern_->error()));
    if (pattern_->ProgramSize() > kMaxProgramSize) return Bad(place, "is too large; use smaller repeat counts");
  } else if (keyword != "title" && keyword != "description" && keyword != "$schema" && keyword != "default") {
    return Bad(place, "is a keyword that is not supported (reward/json_schema.h lists those that are)");
  }
  return absl::OkStatus();
}

std::string JsonSchema::WhyNot(const Json& value, const std::string& place) const {
  if (never_) return absl::StrCat(place, ": must not be there");
  if (!types_.empty() &&
      std::none_of(types_.begin(), types_.end(), [&](const std::string& type) { return HasType(value, type); })) {
    return absl::StrCat(place, ": is of another type");
  }
  if (choices_.has_value() && std::find(choices_->begin(), choices_->end(), value) == choices_->end()) {
    return absl::StrCat(place, ": is none of the values allowed");
  }
  std::string why;
  if (value.is_number()) why = WhyNotNumber(value);
  if (value.is_string()) why = WhyNotText(value.get_ref<const std::string&>());
  if (!why.empty()) return absl::StrCat(place, ": ", why);
  if (value.is_array()) why = WhyNotArray(value, place);
  if (value.is_object()) why = WhyNotObject(value, place);
  if (!why.empty()) return why;
  for (const Pointer& schema : all_of_) {
    if (why = schema->WhyNot(value, place); !why.empty()) return why;
  }
  if (!any_of_.empty() && std::none_of(any_of_.begin(), any_of_.end(),
                                       [&](const Pointer& schema) { return schema->WhyNot(value, place).empty(); })) {
    return absl::StrCat(place, ": fits none of anyOf");
  }
  if (not_ != nullptr && not_->WhyNot(value, place).empty()) return absl::StrCat(place, ": fits what it must not");
  return "";
}

std::string JsonSchema::WhyNotNumber(const Json& value) const {
  const double number = value.get<double>();
  if (minimum_ && number < *minimum_) return absl::StrCat("is below the minimum ", *minimum_);
  if (maximum_ && number > *maximum_) return absl::StrCat("is above the maximum ", *maximum_);
  if (exclusive_minimum_ && number <= *exclusive_minimum_) return absl::StrCat("is not above ", *exclusive_minimum_);
  if (exclusive_maximum_ && number >= *exclusive_maximum_) return absl::StrCat("is not below ", *exclusive_maximum_);
  return "";
}

std::string JsonSchema::WhyNotText(const std::string& text) const {
  if (min_length_ && NumCharacters(text) < *min_length_) return absl::StrCat("is shorter than ", *min_length_);
  if (max_length_ && NumCharacters(text) > *max_length_) return absl::StrCat("is longer than ", *max_length_);
  if (pattern_ != nullptr && !RE2::PartialMatch(text, *pattern_)) return "does not match the pattern";
  return "";
}

std::string JsonSchema::WhyNotArray(const Json& value, const std::string& place) const {
  if (min_items_ && value.size() < *min_items_) return absl::StrCat(place, ": has fewer than ", *min_items_, " items");
  if (max_items_ && value.size() > *max_items_) return absl::StrCat(place, ": has more than ", *max_items_, " items");
  if (items_ == nullptr) return "";
  for (size_t i = 0; i < value.size(); ++i) {
    if (std::string why = items_->WhyNot(value[i], absl::StrCat(place, "[", i, "]")); !why.empty()) return why;
  }
  return "";
}

std::string JsonSchema::WhyNotObject(const Json& value, const std::string& place) const {
  for (const std::string& name : required_) {
    if (!value.contains(name)) return absl::StrCat(place, ": lacks \"", name, "\"");
  }
  for (const auto& [name, item] : value.items()) {
    const auto property = properties_.find(name);
    const JsonSchema* schema = property != properties_.end() ? property->second.get() : additional_.get();
    if (schema == nullptr) continue;
    if (std::string why = schema->WhyNot(item, absl::StrCat(place, ".", name)); !why.empty()) return why;
  }
  return "";
}

}  // namespace grpo
