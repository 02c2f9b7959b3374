#include "model/tokenizer/added_tokens.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "model/strict_json.h"
#include "model/tokenizer/fields.h"

namespace grpo {
namespace {

using nlohmann::json;

// Bounds the time that looking for tokens takes at each byte of a text.
constexpr size_t kMaxTokenBytes = 256;
// \w and \s of Rust's regex library, which decides here.
constexpr char kWordPattern[] = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";
constexpr char kSpacePattern[] = R"(\p{White_Space})";

absl::StatusOr<AddedToken> ParseAddedToken(const json& entry, const Normalizer& normalizer) {
  const json& content = Field(entry, "content");
  if (!content.is_string() || content.get_ref<const std::string&>().empty())
    return Unusable(absl::StrCat("added_tokens holds ", ShowJson(entry), ", which has no content"));
  AddedToken token;
  token.content = content.get<std::string>();
  const std::string place = absl::StrCat("added_tokens ", ShowJson(content));
  RETURN_IF_ERROR(
      ExpectKeys(entry, place, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
  ASSIGN_OR_RETURN(token.single_word, BoolField(entry, place, "single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, BoolField(entry, place, "lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, BoolField(entry, place, "rstrip", false));
  ASSIGN_OR_RETURN(token.normalized, BoolField(entry, place, "normalized", false));
  // Special tokens are those that a decoder may be asked to leave out; ours writes all.
  RETURN_IF_ERROR(BoolField(entry, place, "special", false).status());
  token.written = token.normalized ? normalizer.Normalize(token.content) : token.content;
  if (token.written.size() > kMaxTokenBytes)
    return Unusable(absl::StrCat(place, " is longer than ", kMaxTokenBytes, " bytes"));
  ASSIGN_OR_RETURN(token.id, ParseTokenId(Field(entry, "id"), token.content));
  return token;
}

}  // namespace

absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const json& list, const Normalizer& normalizer,
                                                         Vocabulary* vocabulary) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array()) return Unusable("added_tokens is not a list");
  // The id that the library gives to an added token which the vocabulary lacks, whatever the file says.
  uint64_t next_id = vocabulary->ids().size();
  std::set<std::string> seen;
  for (const json& entry : list) {
    ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(entry, normalizer));
    if (!seen.insert(token.content).second)
      return Unusable(absl::StrCat("added_tokens has \"", token.content, "\" twice"));
    const std::optional<uint32_t> known = vocabulary->Find(token.content);
    const uint64_t place = known.value_or(next_id);
    if (place != token.id) {
      return Unusable(
          absl::StrCat("added_tokens gives \"", token.content, "\" the id ", token.id, ", but its place is ", place));
    }
    if (!known.has_value()) vocabulary->Add(token.content, token.id);
    next_id = std::max<uint64_t>(next_id, token.id + 1);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

absl::StatusOr<AddedTokenCutter> AddedTokenCutter::Make(const std::vector<AddedToken>& tokens, bool normalized) {
  ASSIGN_OR_RETURN(Regex word, Regex::FromPcre2(kWordPattern));
  ASSIGN_OR_RETURN(Regex space, Regex::FromPcre2(kSpacePattern));
  AddedTokenCutter cutter(std::move(word), std::move(space));
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) continue;
    uint32_t node = 0;
    for (const char c : token.written) {
      const auto next = static_cast<uint32_t>(cutter.token_of_node_.size());
      const auto [child, is_new] =
          cutter.children_.try_emplace(uint64_t{node} << 8 | static_cast<unsigned char>(c), next);
      if (is_new) cutter.token_of_node_.push_back(-1);
      node = child->second;
    }
    int32_t& end = cutter.token_of_node_[node];
    if (end >= 0) {
      return Unusable(absl::StrCat("added_tokens \"", cutter.tokens_[end].content, "\" and \"", token.content,
                                   "\" are the same when normalized"));
    }
    end = static_cast<int32_t>(cutter.tokens_.size());
    cutter.begins_token_[static_cast<unsigned char>(token.written[0])] = true;
    cutter.tokens_.push_back(token);
  }
  return cutter;
}

const AddedToken* AddedTokenCutter::LongestAt(absl::string_view text) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (const char c : text) {
    const auto child = children_.find(uint64_t{node} << 8 | static_cast<unsigned char>(c));
    if (child == children_.end()) break;
    node = child->second;
    if (token_of_node_[node] >= 0) longest = &tokens_[token_of_node_[node]];
  }
  return longest;
}

absl::StatusOr<bool> AddedTokenCutter::Touches(absl::string_view text, size_t begin, size_t end,
                                               RegexScratch& scratch) const {
  if (begin > 0) {
    ASSIGN_OR_RETURN(const int64_t match, word_.MatchAt(text, LastCharacterStart(text.substr(0, begin)), scratch));
    if (match >= 0) return true;
  }
  ASSIGN_OR_RETURN(const int64_t match, word_.MatchAt(text, end, scratch));
  return match >= 0;
}

absl::StatusOr<size_t> AddedTokenCutter::SpaceBefore(absl::string_view text, size_t end, RegexScratch& scratch) const {
  while (end > 0) {
    const size_t start = LastCharacterStart(text.substr(0, end));
    ASSIGN_OR_RETURN(const int64_t match, space_.MatchAt(text, start, scratch));
    if (match < 0) break;
    end = start;
  }
  return end;
}

absl::StatusOr<size_t> AddedTokenCutter::SpaceBehind(absl::string_view text, size_t begin,
                                                     RegexScratch& scratch) const {
  while (true) {
    ASSIGN_OR_RETURN(const int64_t match, space_.MatchAt(text, begin, scratch));
    if (match < 0) return begin;
    begin = static_cast<size_t>(match);
  }
}

absl::Status AddedTokenCutter::Cut(absl::string_view text, RegexScratch& scratch,
                                   absl::FunctionRef<absl::Status(absl::string_view)> between,
                                   absl::FunctionRef<void(uint32_t)> token) const {
  size_t done = 0;
  for (size_t position = tokens_.empty() ? text.size() : 0; position < text.size();) {
    const AddedToken* found =
        begins_token_[static_cast<unsigned char>(text[position])] ? LongestAt(text.substr(position)) : nullptr;
    if (found == nullptr) {
      ++position;
      continue;
    }
    size_t begin = position, end = position + found->written.size();
    // As in the library: what a token strips may hold another token, which is found all the same.
    position = end;
    if (found->single_word) {
      ASSIGN_OR_RETURN(const bool touches, Touches(text, begin, end, scratch));
      if (touches) continue;
    }
    if (found->lstrip) {
      ASSIGN_OR_RETURN(begin, SpaceBefore(text, begin, scratch));
      begin = std::max(begin, done);
    }
    if (found->rstrip) {
      ASSIGN_OR_RETURN(end, SpaceBehind(text, end, scratch));
    }
    if (begin > done) RETURN_IF_ERROR(between(text.substr(done, begin - done)));
    token(found->id);
    done = end;
  }
  return done < text.size() ? between(text.substr(done)) : absl::OkStatus();
}

}  // namespace grpo
