// The added tokens of a tokenizer.json: texts that are cut out before anything else happens.
#ifndef GRPO_MODEL_TOKENIZER_ADDED_TOKENS_H_
#define GRPO_MODEL_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/vocabulary.h"

namespace grpo {

struct AddedToken {
  uint32_t id = 0;
  // `written` is what is looked for and decoded: the content, normalized if the token is.
  std::string content, written;
  // As in the file: single_word, found only where no letter, digit or underscore touches it; lstrip, rstrip, the white
  // space before it, behind it, belongs to it; normalized, looked for in the normalized text.
  bool single_word = false, lstrip = false, rstrip = false, normalized = false;
};

// Reads the list, and gives the vocabulary the tokens that it lacks. In the file's order; none for null.
// InvalidArgument, with the token, for one without content, longer than 256 bytes, given twice, with an unknown key, or
// with another id than the library would give it.
absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const nlohmann::json& list, const Normalizer& normalizer,
                                                         Vocabulary* vocabulary);

// Cuts some of the added tokens out of a text. Thread-safe, but for the scratch.
class AddedTokenCutter {
 public:
  // Those of `tokens` that are, or are not, looked for in normalized text. InvalidArgument for two that are written the
  // same.
  static absl::StatusOr<AddedTokenCutter> Make(const std::vector<AddedToken>& tokens, bool normalized);

  // Hands over, in order, what lies between tokens (not empty) and the tokens' ids. Where several tokens match, the
  // leftmost counts and of these the longest. `text` is valid UTF-8. The errors of `between`, and InvalidArgument when
  // the scratch's time is over; what was handed over before stays.
  absl::Status Cut(absl::string_view text, RegexScratch& scratch,
                   absl::FunctionRef<absl::Status(absl::string_view)> between,
                   absl::FunctionRef<void(uint32_t)> token) const;

 private:
  AddedTokenCutter(Regex word, Regex space) : word_(std::move(word)), space_(std::move(space)) {}

  // The longest token that the text begins with; null when there is none.
  const AddedToken* LongestAt(absl::string_view text) const;
  // Whether a character of a word stands right before `begin` or at `end`.
  absl::StatusOr<bool> Touches(absl::string_view text, size_t begin, size_t end, RegexScratch& scratch) const;
  // Where the white space that ends at `end` begins, and where that which begins at `begin` ends.
  absl::StatusOr<size_t> SpaceBefore(absl::string_view text, size_t end, RegexScratch& scratch) const;
  absl::StatusOr<size_t> SpaceBehind(absl::string_view text, size_t begin, RegexScratch& scratch) const;

  // One character.
  Regex word_, space_;
  std::vector<AddedToken> tokens_;
  // A tree of prefixes: node << 8 | byte leads to a node, 0 is the root.
  absl::flat_hash_map<uint64_t, uint32_t> children_;
  // By node; -1 where no token ends.
  std::vector<int32_t> token_of_node_ = {-1};
  std::array<bool, 256> begins_token_ = {};
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_ADDED_TOKENS_H_
