// Patterns of tokenizer.json, which are written for Oniguruma, run by PCRE2.
//
// Where the two differ, the pattern is translated or refused: \s is White_Space (PCRE2's has U+180E too), \p{Han} is
// the script (PCRE2's has its extensions too), ^ and $ match at lines; \w, \b, \h, nested and intersected classes,
// {,n}, {n}+ and whatever else no tokenizer uses are refused. tests/parity compares the rest, one character at a time.
//
// Classes of characters are those of PCRE2's Unicode version, 14 in Debian bookworm. Oniguruma's may be newer: a letter
// of Unicode 15 is none here.
#ifndef GRPO_MODEL_TOKENIZER_REGEX_H_
#define GRPO_MODEL_TOKENIZER_REGEX_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace grpo {

// The pattern in PCRE2's syntax; InvalidArgument names what it cannot say.
absl::StatusOr<std::string> OnigurumaToPcre2(absl::string_view pattern);

// What matching needs beside the pattern, and the time that it may take. One thread.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

  // Allows the matches to come, together, the time that a text of this length may take. That is 5 seconds and 20
  // microseconds a byte, from now on. Without a call there is no such bound.
  void Begin(size_t num_text_bytes);

 private:
  friend class Regex;
  // InvalidArgument once the time is over; looks at the clock at every 64th match.
  absl::Status CheckTime();

  pcre2_real_match_data_8* const match_data_;
  pcre2_real_match_context_8* const context_;
  pcre2_real_jit_stack_8* const jit_stack_;
  // By Clock::Real().
  absl::Duration deadline_ = absl::InfiniteDuration();
  uint32_t num_matches_ = 0;
};

// Thread-safe, but for the scratch.
class Regex {
 public:
  // InvalidArgument says what is wrong with the pattern, in Oniguruma's syntax. A pattern may have 64 KiB.
  static absl::StatusOr<Regex> FromPattern(absl::string_view pattern);
  // Matches the text itself.
  static absl::StatusOr<Regex> FromText(absl::string_view text);
  // A pattern in PCRE2's syntax. InvalidArgument in PCRE2's words. Unicode properties are on.
  static absl::StatusOr<Regex> FromPcre2(absl::string_view pattern);

  // The end of the match that begins at byte `position` of valid UTF-8; -1 when none begins there. InvalidArgument when
  // that takes too many steps, or all since Begin too long. `position` itself for an empty match. Characters before
  // `position` are seen by look-behinds.
  absl::StatusOr<int64_t> MatchAt(absl::string_view text, size_t position, RegexScratch& scratch) const;

 private:
  static absl::StatusOr<Regex> Compile(absl::string_view pattern, uint32_t options, absl::string_view shown);

  std::shared_ptr<const pcre2_real_code_8> code_;
  std::string shown_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_REGEX_H_
