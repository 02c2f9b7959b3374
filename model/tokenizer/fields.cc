#include "model/tokenizer/fields.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/strict_json.h"

namespace grpo {

using nlohmann::json;

absl::Status Unusable(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", what));
}

absl::Status Unexpected(absl::string_view place, const json& value, absl::string_view expected) {
  return Unusable(absl::StrCat(place, " is ", ShowJson(value), ", expected ", expected));
}

const json& Field(const json& object, const char* key) {
  static const json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

absl::Status ExpectKeys(const json& object, absl::string_view place, std::initializer_list<const char*> keys) {
  if (!object.is_object()) return Unexpected(place, object, "an object");
  for (const auto& [key, value] : object.items()) {
    bool known = false;
    for (const char* one : keys) known = known || key == one;
    if (!known) {
      return Unusable(absl::StrCat(place, place.empty() ? "" : ".", key, " is ", ShowJson(value),
                                   ", and no such key is supported"));
    }
  }
  return absl::OkStatus();
}

absl::Status ExpectNeutral(const json& object, absl::string_view place, const char* key, const json& neutral) {
  const json& value = Field(object, key);
  if (value.is_null() || value == neutral) return absl::OkStatus();
  return Unusable(absl::StrCat(place, place.empty() ? "" : ".", key, " is ", ShowJson(value), ", and only null",
                               neutral.is_null() ? "" : " or ", neutral.is_null() ? "" : ShowJson(neutral),
                               " is supported"));
}

absl::StatusOr<bool> BoolField(const json& object, absl::string_view place, const char* key, bool absent) {
  const json& value = Field(object, key);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) return Unexpected(absl::StrCat(place, ".", key), value, "true or false");
  return value.get<bool>();
}

absl::StatusOr<uint32_t> ParseTokenId(const json& value, absl::string_view token) {
  if (value.is_number_unsigned() && value.get<uint64_t>() <= kMaxTokenId)
    return static_cast<uint32_t>(value.get<uint64_t>());
  return Unexpected(absl::StrCat("the id of \"", token, "\""), value, absl::StrCat("0 to ", kMaxTokenId));
}

absl::StatusOr<std::vector<json>> Components(const json& component, absl::string_view place, const char* key) {
  if (component.is_null()) return std::vector<json>();
  std::vector<json> list = {component};
  if (component.is_object() && Field(component, "type") == "Sequence") {
    if (auto status = ExpectKeys(component, place, {"type", key}); !status.ok()) return status;
    const json& inner = Field(component, key);
    if (!inner.is_array()) return Unexpected(absl::StrCat(place, ".", key), inner, "a list");
    list.assign(inner.begin(), inner.end());
  }
  for (const json& one : list) {
    if (!one.is_object() || !Field(one, "type").is_string() || Field(one, "type") == "Sequence") {
      return Unexpected(place, one, "an object with a type, or a Sequence of such");
    }
  }
  return list;
}

}  // namespace grpo
