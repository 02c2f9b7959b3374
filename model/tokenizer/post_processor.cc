#include "model/tokenizer/post_processor.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/strict_json.h"
#include "model/tokenizer/fields.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kPlace[] = "post_processor";

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const json& json_value) {
  PostProcessor result;
  ASSIGN_OR_RETURN(const std::vector<json> components, Components(json_value, kPlace, "processors"));
  for (const json& component : components) {
    const std::string type = Field(component, "type").get<std::string>();
    if (type == "ByteLevel") {
      // All about offsets.
      RETURN_IF_ERROR(ExpectKeys(component, kPlace, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    } else if (type == "TemplateProcessing") {
      // The library would take what the first one makes for several texts, and use the second one's template for pairs.
      if (std::exchange(result.has_template_, true)) return Unexpected(kPlace, component, "one TemplateProcessing");
      RETURN_IF_ERROR(result.LoadTemplate(component));
    } else {
      return Unexpected(kPlace, component, "ByteLevel, TemplateProcessing or a Sequence of them");
    }
  }
  return result;
}

absl::Status PostProcessor::LoadTemplate(const json& component) {
  // pair is for two texts at once, which nobody encodes here.
  RETURN_IF_ERROR(ExpectKeys(component, kPlace, {"type", "single", "pair", "special_tokens"}));
  const json &single = Field(component, "single"), &special = Field(component, "special_tokens");
  if (!single.is_array() || single.empty()) return Unexpected(absl::StrCat(kPlace, ".single"), single, "a list");
  bool has_text = false;
  for (const json& piece : single) {
    const json &sequence = Field(piece, "Sequence"), &token = Field(piece, "SpecialToken");
    if (piece.is_object() && piece.size() == 1 && Field(sequence, "id") == "A" && !has_text) {
      has_text = true;
      continue;
    }
    const json& name = Field(token, "id");
    if (!piece.is_object() || piece.size() != 1 || !name.is_string()) {
      return Unexpected(absl::StrCat(kPlace, ".single"), piece,
                        R"({"Sequence": {"id": "A", ...}}, once, or {"SpecialToken": {"id": ..., ...}})");
    }
    const json& ids = Field(Field(special, name.get_ref<const std::string&>().c_str()), "ids");
    if (!ids.is_array())
      return Unexpected(absl::StrCat(kPlace, ".special_tokens ", ShowJson(name), " ids"), ids, "a list of ids");
    for (const json& id : ids) {
      ASSIGN_OR_RETURN(const uint32_t parsed, ParseTokenId(id, name.get_ref<const std::string&>()));
      (has_text ? behind_ : before_).push_back(parsed);
    }
  }
  if (!has_text) return Unexpected(absl::StrCat(kPlace, ".single"), single, "a place for the text");
  return absl::OkStatus();
}

std::vector<uint32_t> PostProcessor::AddSpecialTokens(std::vector<uint32_t> ids) const {
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), behind_.begin(), behind_.end());
  return ids;
}

}  // namespace grpo
