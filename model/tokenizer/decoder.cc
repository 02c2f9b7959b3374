#include "model/tokenizer/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/fields.h"

namespace grpo {
namespace {

using nlohmann::json;

// Whether tokens are written in the byte alphabet.
absl::StatusOr<bool> ParseByteLevel(const json& decoder) {
  constexpr char kExpected[] = "ByteLevel, Fuse or a Sequence of ByteLevel and then Fuse";
  ASSIGN_OR_RETURN(const std::vector<json> components, Components(decoder, "decoder", "decoders"));
  // Without a decoder the library would write a space between tokens.
  if (components.empty()) return Unexpected("decoder", decoder, kExpected);
  bool byte_level = false;
  for (const json& component : components) {
    if (Field(component, "type") == "Fuse") {
      RETURN_IF_ERROR(ExpectKeys(component, "decoder", {"type"}));
    } else if (Field(component, "type") == "ByteLevel" && &component == &components[0]) {
      RETURN_IF_ERROR(ExpectKeys(component, "decoder", {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
      byte_level = true;
    } else {
      return Unexpected("decoder", component, kExpected);
    }
  }
  return byte_level;
}

}  // namespace

absl::StatusOr<Decoder> Decoder::FromJson(const json& json_value, const Vocabulary& vocabulary,
                                          const std::vector<AddedToken>& added) {
  ASSIGN_OR_RETURN(const bool byte_level, ParseByteLevel(json_value));
  std::vector<std::pair<uint32_t, absl::string_view>> tokens;
  for (const auto& [token, id] : vocabulary.ids()) tokens.emplace_back(id, token);
  std::sort(tokens.begin(), tokens.end());
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i].first == tokens[i - 1].first) {
      return Unusable(absl::StrCat("\"", tokens[i - 1].second, "\" and \"", tokens[i].second, "\" have the same id ",
                                   tokens[i].first));
    }
  }
  const auto by_id = [](const auto& token, uint32_t id) { return token.first < id; };
  for (const AddedToken& token : added)
    std::lower_bound(tokens.begin(), tokens.end(), token.id, by_id)->second = token.written;
  Decoder decoder;
  decoder.begins_.reserve(tokens.back().first + size_t{2});
  for (const auto& [id, token] : tokens) {
    // Ids that no token has are empty.
    decoder.begins_.resize(id + size_t{1}, static_cast<uint32_t>(decoder.bytes_.size()));
    // A token that is not all of the byte alphabet, such as one added with a space in it, stands for itself.
    const std::optional<std::string> bytes = byte_level ? BytesOfAlphabet(token) : std::nullopt;
    absl::StrAppend(&decoder.bytes_, bytes.has_value() ? *bytes : token);
  }
  decoder.begins_.push_back(static_cast<uint32_t>(decoder.bytes_.size()));
  return decoder;
}

}  // namespace grpo
