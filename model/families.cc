#include "model/families.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "model/family.h"
#include "model/strict_json.h"

namespace grpo {

#define MODEL_FAMILY(name) extern const ModelFamily kModelFamily_##name;
#include "model/families.inc"
#undef MODEL_FAMILY

namespace {

const std::vector<const ModelFamily*>& ModelFamilies() {
  static const auto* const families = new std::vector<const ModelFamily*>{
#define MODEL_FAMILY(name) &kModelFamily_##name,
#include "model/families.inc"
#undef MODEL_FAMILY
  };
  return *families;
}

absl::StatusOr<const ModelFamily*> FindFamily(absl::string_view name) {
  for (const ModelFamily* family : ModelFamilies()) {
    if (name == family->name) return family;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "model_type is \"", name, "\", which is not supported; supported: ", absl::StrJoin(ModelFamilyNames(), ", ")));
}

// transformers stops at the end tokens of generation_config.json.
absl::Status AddEndTokens(absl::string_view generation_config_json, ModelConfig& config) {
  if (generation_config_json.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(generation_config_json, "generation_config.json"));
  const auto field = object.find("eos_token_id");
  if (field == object.end() || field->is_null()) return absl::OkStatus();
  for (const nlohmann::json& id : field->is_array() ? *field : nlohmann::json::array({*field})) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(config.vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat("generation_config.json: eos_token_id holds ", ShowJson(id),
                                                     ", expected token ids below vocab_size ", config.vocab_size));
    }
    std::vector<int64_t>& ends = config.eos_token_ids;
    if (std::find(ends.begin(), ends.end(), id.get<int64_t>()) == ends.end()) ends.push_back(id.get<int64_t>());
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> ModelFamilyNames() {
  std::vector<std::string> names;
  for (const ModelFamily* family : ModelFamilies()) names.push_back(family->name);
  return names;
}

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json, absl::string_view generation_config_json,
                                             std::vector<std::string>* ignored) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(config_json, "config.json"));
  const auto type = object.find("model_type");
  if (type == object.end() || !type->is_string()) {
    return absl::InvalidArgumentError("config.json: model_type is missing or not a text");
  }
  ModelConfig config;
  config.family = type->get<std::string>();
  ASSIGN_OR_RETURN(const ModelFamily* family, FindFamily(config.family));
  ConfigReader reader(object, "config.json");
  family->read(reader, config);
  reader.RefuseUnknown();
  RETURN_IF_ERROR(reader.status());
  RETURN_IF_ERROR(AddEndTokens(generation_config_json, config));
  if (config.pad_token_id == -1) config.pad_token_id = config.eos_token_ids.empty() ? 0 : config.eos_token_ids.front();
  RETURN_IF_ERROR(config.Validate());
  if (ignored != nullptr) ignored->insert(ignored->end(), reader.ignored().begin(), reader.ignored().end());
  return config;
}

std::string ModelConfigJson(const ModelConfig& config) {
  const auto family = FindFamily(config.family);
  if (!family.ok()) return std::string();
  nlohmann::json object = (*family)->write(config);
  object["model_type"] = (*family)->name;
  return object.dump(2) + "\n";
}

}  // namespace grpo
