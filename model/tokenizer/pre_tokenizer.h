// The pre-tokenizer of a tokenizer.json: cuts a text into the words within which BPE merges.
#ifndef GRPO_MODEL_TOKENIZER_PRE_TOKENIZER_H_
#define GRPO_MODEL_TOKENIZER_PRE_TOKENIZER_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/regex.h"

namespace grpo {

// Thread-safe, but for the scratch.
class PreTokenizer {
 public:
  // Takes one word; the view is good for the call only. An error ends the splitting.
  using Sink = absl::FunctionRef<absl::Status(absl::string_view)>;

  // null, Split, Digits, ByteLevel or a Sequence of them in which ByteLevel comes last; others are InvalidArgument by
  // name.
  static absl::StatusOr<PreTokenizer> FromJson(const nlohmann::json& pre_tokenizer);

  // Whether words are written byte by byte, in the byte alphabet, rather than in their characters.
  bool byte_level() const { return byte_level_; }

  // Hands each word to `sink`, in order; none is empty. A word lies within `text` unless a space was put before it. The
  // error of a pattern that runs away, or of the sink. `text` is valid UTF-8. RegexScratch::Begin was called for it.
  absl::Status Split(absl::string_view text, RegexScratch& scratch, Sink sink) const {
    return SplitFrom(0, text, scratch, sink);
  }

 private:
  // What becomes of a match and what lies between matches.
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Stage {
    // Puts a space before a text that begins with none.
    bool add_prefix_space = false;
    // None leaves the text whole.
    std::optional<Regex> regex;
    Behavior behavior = Behavior::kIsolated;
    // What lies between matches counts as the match.
    bool invert = false;
  };
  // Puts segments, matches and what lies between, together to words.
  class Joiner;

  // One component of a tokenizer.json each; InvalidArgument for what is not supported, by name.
  static absl::StatusOr<Stage> ParseSplit(const nlohmann::json& component);
  static absl::StatusOr<Stage> ParseDigits(const nlohmann::json& component);
  static absl::StatusOr<Stage> ParseByteLevel(const nlohmann::json& component);

  // By the stages from number `index` on.
  absl::Status SplitFrom(size_t index, absl::string_view text, RegexScratch& scratch, Sink sink) const;

  // Each cuts the words of the one before it.
  std::vector<Stage> stages_;
  // Whether a ByteLevel is among them: words are then bytes to the vocabulary.
  bool byte_level_ = false;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_PRE_TOKENIZER_H_
