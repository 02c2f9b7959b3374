#include "model/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/strict_json.h"

namespace grpo {
namespace {

using nlohmann::json;

// Four times the largest vocabulary seen; bounds the table that Decode reads.
constexpr uint64_t kMaxId = (1 << 20) - 1;

absl::Status Unusable(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", what));
}

const json& Field(const json& object, const char* key) {
  static const json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

// Bytes of the UTF-8 character that `text` begins with; 0 when it begins with none (overlong forms and surrogates are
// none).
size_t CharacterBytes(absl::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  if (text.empty()) return 0;
  if (byte(0) < 0x80) return 1;
  if (byte(0) >= 0xC2 && byte(0) <= 0xDF) return continues(1) ? 2 : 0;
  if (byte(0) >= 0xE0 && byte(0) <= 0xEF) {
    const bool overlong = byte(0) == 0xE0 && byte(1) < 0xA0, surrogate = byte(0) == 0xED && byte(1) > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (byte(0) >= 0xF0 && byte(0) <= 0xF4) {
    const bool overlong = byte(0) == 0xF0 && byte(1) < 0x90, beyond_unicode = byte(0) == 0xF4 && byte(1) > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond_unicode ? 4 : 0;
  }
  return 0;
}

absl::StatusOr<uint32_t> ParseId(const json& value, absl::string_view token) {
  if (value.is_number_unsigned() && value.get<uint64_t>() <= kMaxId)
    return static_cast<uint32_t>(value.get<uint64_t>());
  return Unusable(absl::StrCat("the id of \"", token, "\" is ", ShowJson(value), ", expected 0 to ", kMaxId));
}

// Refuses a value that changes what the tokenizer does; absent and null always pass.
absl::Status ExpectNeutral(const json& object, const char* place, const char* key, const json& neutral) {
  const json& value = Field(object, key);
  if (value.is_null() || value == neutral) return absl::OkStatus();
  return Unusable(absl::StrCat(place, key, " is ", ShowJson(value), ", and only null", neutral.is_null() ? "" : " or ",
                               neutral.is_null() ? "" : ShowJson(neutral), " is supported"));
}

// Tokens that are single characters, and added tokens that are cut out before them: what BPE without merges is.
class CharacterTokenizer : public Tokenizer {
 public:
  absl::Status Load(const json& file) {
    RETURN_IF_ERROR(CheckPipeline(file));
    RETURN_IF_ERROR(LoadVocabulary(Field(Field(file, "model"), "vocab")));
    RETURN_IF_ERROR(LoadAddedTokens(Field(file, "added_tokens")));
    for (const auto& [token, id] : ids_) {
      if (id >= tokens_.size()) tokens_.resize(id + 1);
      if (!tokens_[id].empty())
        return Unusable(absl::StrCat("\"", tokens_[id], "\" and \"", token, "\" have the same id ", id));
      tokens_[id] = token;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const override {
    std::vector<uint32_t> ids;
    ids.reserve(text.size());
    for (size_t position = 0; position < text.size();) {
      const absl::string_view rest = text.substr(position);
      if (const AddedToken* added = LongestAddedToken(rest)) {
        ids.push_back(added->id);
        position += added->text.size();
        continue;
      }
      const size_t length = CharacterBytes(rest);
      if (length == 0)
        return absl::InvalidArgumentError(absl::StrCat("the text is not valid UTF-8 at byte ", position));
      const auto found = characters_.find(std::string(rest.substr(0, length)));
      if (found == characters_.end()) {
        return absl::InvalidArgumentError(absl::StrCat("the vocabulary has no token for the character ",
                                                       ShowJson(std::string(rest.substr(0, length))), " at byte ",
                                                       position));
      }
      ids.push_back(found->second);
      position += length;
    }
    return ids;
  }

  std::string Decode(const std::vector<uint32_t>& ids) const override {
    std::string text;
    for (const uint32_t id : ids) {
      if (id < tokens_.size()) text += tokens_[id];
    }
    return text;
  }

  absl::StatusOr<uint32_t> TokenId(absl::string_view token) const override {
    const auto found = ids_.find(std::string(token));
    if (found == ids_.end()) return absl::NotFoundError(absl::StrCat("the vocabulary has no token \"", token, "\""));
    return found->second;
  }

  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }

 private:
  struct AddedToken {
    std::string text;
    uint32_t id;
  };

  static absl::Status CheckPipeline(const json& file) {
    for (const char* stage : {"normalizer", "pre_tokenizer", "post_processor", "truncation", "padding"}) {
      RETURN_IF_ERROR(ExpectNeutral(file, "", stage, nullptr));
    }
    const json& model = Field(file, "model");
    if (!model.is_object() || Field(model, "type") != "BPE") {
      return Unusable(absl::StrCat("model.type is ", ShowJson(model.is_object() ? Field(model, "type") : model),
                                   ", and only \"BPE\" is supported"));
    }
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "merges", json::array()));
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "dropout", 0.0));
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "unk_token", nullptr));
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "continuing_subword_prefix", ""));
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "end_of_word_suffix", ""));
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "byte_fallback", false));
    RETURN_IF_ERROR(ExpectNeutral(model, "model.", "ignore_merges", false));
    // Without a decoder the library would write a space between tokens.
    if (const json& decoder = Field(file, "decoder"); !decoder.is_object() || Field(decoder, "type") != "Fuse") {
      return Unusable(absl::StrCat("decoder is ", ShowJson(decoder), ", and only {\"type\":\"Fuse\"} is supported"));
    }
    return absl::OkStatus();
  }

  absl::Status LoadVocabulary(const json& vocabulary) {
    if (!vocabulary.is_object() || vocabulary.empty())
      return Unusable("model.vocab is missing, empty or not an object");
    for (const auto& [token, value] : vocabulary.items()) {
      ASSIGN_OR_RETURN(const uint32_t id, ParseId(value, token));
      ids_[token] = id;
      // Longer entries can only be reached by merges, of which there are none, or as added tokens.
      if (!token.empty() && CharacterBytes(token) == token.size()) characters_[token] = id;
    }
    return absl::OkStatus();
  }

  absl::Status LoadAddedTokens(const json& list) {
    if (list.is_null()) return absl::OkStatus();
    if (!list.is_array()) return Unusable("added_tokens is not a list");
    // The id that the library gives to an added token which the vocabulary lacks, whatever the file says.
    uint64_t next_id = ids_.size();
    std::set<std::string> seen;
    for (const json& entry : list) {
      const json& content = Field(entry, "content");
      if (!content.is_string() || content.get_ref<const std::string&>().empty()) {
        return Unusable(absl::StrCat("added_tokens holds ", ShowJson(entry), ", which has no content"));
      }
      const std::string token = content.get<std::string>();
      for (const char* key : {"single_word", "lstrip", "rstrip", "normalized"}) {
        RETURN_IF_ERROR(ExpectNeutral(entry, absl::StrCat("added_tokens \"", token, "\" ").c_str(), key, false));
      }
      ASSIGN_OR_RETURN(const uint32_t id, ParseId(Field(entry, "id"), token));
      if (!seen.insert(token).second) return Unusable(absl::StrCat("added_tokens has \"", token, "\" twice"));
      const auto [known, is_new] = ids_.try_emplace(token, static_cast<uint32_t>(next_id));
      if (known->second != id) {
        return Unusable(
            absl::StrCat("added_tokens gives \"", token, "\" the id ", id, ", but its place is ", known->second));
      }
      next_id = std::max<uint64_t>(next_id, id + 1);
      added_[static_cast<unsigned char>(token[0])].push_back({token, id});
    }
    for (std::vector<AddedToken>& tokens : added_) {
      std::sort(tokens.begin(), tokens.end(),
                [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
    }
    return absl::OkStatus();
  }

  const AddedToken* LongestAddedToken(absl::string_view text) const {
    for (const AddedToken& token : added_[static_cast<unsigned char>(text[0])]) {
      if (absl::StartsWith(text, token.text)) return &token;
    }
    return nullptr;
  }

  std::map<std::string, uint32_t> ids_;
  // The part of ids_ that is one character long.
  std::map<std::string, uint32_t> characters_;
  // By first byte, longest first.
  std::array<std::vector<AddedToken>, 256> added_;
  // By id; ids that no token has are empty.
  std::vector<std::string> tokens_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(absl::string_view tokenizer_json) {
  ASSIGN_OR_RETURN(const json file, ParseJsonObject(tokenizer_json, "tokenizer.json"));
  auto tokenizer = std::make_unique<CharacterTokenizer>();
  RETURN_IF_ERROR(tokenizer->Load(file));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace grpo
