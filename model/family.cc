#include "model/family.h"

#include "absl/strings/str_cat.h"
#include "model/strict_json.h"

namespace grpo {

const nlohmann::json& ConfigReader::Value(const char* field) const {
  static const nlohmann::json kNull;
  const auto found = object_.find(field);
  return found == object_.end() ? kNull : *found;
}

void ConfigReader::Fail(const std::string& message) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat("config.json: ", message));
}

int64_t ConfigReader::Int(const char* field) {
  if (Value(field).is_null()) Fail(absl::StrCat(field, " is missing"));
  return IntOr(field, 0);
}

int64_t ConfigReader::IntOr(const char* field, int64_t fallback) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return fallback;
  // An unsigned value above INT64_MAX would wrap.
  if (value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX))
    return value.get<int64_t>();
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected an integer"));
  return fallback;
}

double ConfigReader::Number(const char* field) {
  const nlohmann::json& value = Value(field);
  if (value.is_number()) return value.get<double>();
  Fail(value.is_null() ? absl::StrCat(field, " is missing")
                       : absl::StrCat(field, " is ", ShowJson(value), ", expected a number"));
  return 0;
}

bool ConfigReader::BoolOr(const char* field, bool fallback) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return fallback;
  if (value.is_boolean()) return value.get<bool>();
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected true or false"));
  return fallback;
}

std::vector<int64_t> ConfigReader::IntList(const char* field) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return {};
  if (!value.is_array()) return {Int(field)};
  std::vector<int64_t> result;
  for (const nlohmann::json& element : value) {
    if (element.is_number_integer()) {
      result.push_back(element.get<int64_t>());
    } else {
      Fail(absl::StrCat(field, " holds ", ShowJson(element), ", expected integers"));
    }
  }
  return result;
}

double ConfigReader::RopeTheta() {
  // transformers 5 gathers in rope_parameters what transformers 4 kept in rope_theta and rope_scaling.
  MustBe("rope_scaling", nullptr);
  const nlohmann::json& parameters = Value("rope_parameters");
  if (parameters.is_null()) return Number("rope_theta");
  if (!parameters.is_object()) {
    Fail(absl::StrCat("rope_parameters is ", ShowJson(parameters), ", expected an object"));
    return 0;
  }
  ConfigReader nested(parameters);
  nested.MustBe("rope_type", "default");
  for (const auto& [key, value] : parameters.items()) {
    if (key != "rope_type" && key != "rope_theta") nested.MustBe(key.c_str(), nullptr);
  }
  const double theta = nested.Value("rope_theta").is_null() ? Number("rope_theta") : nested.Number("rope_theta");
  if (!nested.status().ok())
    Fail(absl::StrCat("in rope_parameters, ", absl::string_view(nested.status().message()).substr(13)));
  return theta;
}

void ConfigReader::MustBe(const char* field, const nlohmann::json& supported) {
  const nlohmann::json& value = Value(field);
  if (value.is_null() || value == supported) return;
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", and only ", ShowJson(supported), " is supported"));
}

void ConfigReader::EachMustBe(const char* field, const nlohmann::json& supported) {
  for (const nlohmann::json& element : Value(field)) {
    if (element != supported) {
      Fail(absl::StrCat(field, " holds ", ShowJson(element), ", and only ", ShowJson(supported), " is supported"));
    }
  }
}

}  // namespace grpo
