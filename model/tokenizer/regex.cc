#include "model/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "model/strict_json.h"

namespace grpo {
namespace {

// Steps of one match. Tokenizers' patterns take one for each character of a word, and words may be megabytes long.
constexpr uint32_t kMaxSteps = 10'000'000;
constexpr size_t kMaxPatternBytes = 1 << 16, kMaxJitStackBytes = 1 << 20, kMaxMatchHeapKib = 64 << 10;
// PCRE2 counts no characters, and a pattern may look through the rest of the text at each of its positions: only the
// clock bounds that. Tokenizers' patterns take less than 1 us a byte on slow machines.
constexpr absl::Duration kTimeOfAnyText = absl::Seconds(5), kTimeOfAByte = absl::Microseconds(20);

}  // namespace

RegexScratch::RegexScratch()
    : match_data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      jit_stack_(pcre2_jit_stack_create(32 << 10, kMaxJitStackBytes, nullptr)) {
  pcre2_set_match_limit(context_, kMaxSteps);
  pcre2_set_heap_limit(context_, kMaxMatchHeapKib);
  pcre2_jit_stack_assign(context_, nullptr, jit_stack_);
}

RegexScratch::~RegexScratch() {
  pcre2_jit_stack_free(jit_stack_);
  pcre2_match_context_free(context_);
  pcre2_match_data_free(match_data_);
}

void RegexScratch::Begin(size_t num_text_bytes) {
  deadline_ = Clock::Real().Now() + kTimeOfAnyText + static_cast<int64_t>(num_text_bytes) * kTimeOfAByte;
  num_matches_ = 0;
}

absl::Status RegexScratch::CheckTime() {
  // A look at the clock costs as much as a match.
  if (++num_matches_ % 64 != 0 || Clock::Real().Now() < deadline_) return absl::OkStatus();
  return absl::InvalidArgumentError("the pattern takes too long on this text");
}

absl::StatusOr<Regex> Regex::FromPattern(absl::string_view pattern) {
  const auto translated = OnigurumaToPcre2(pattern);
  if (!translated.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pattern ", ShowJson(std::string(pattern)), " ", translated.status().message()));
  }
  return Compile(*translated, PCRE2_MULTILINE, pattern);
}

absl::StatusOr<Regex> Regex::FromText(absl::string_view text) {
  return Compile(text, PCRE2_LITERAL, text);
}

absl::StatusOr<Regex> Regex::FromPcre2(absl::string_view pattern) {
  return Compile(pattern, 0, pattern);
}

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern, uint32_t options, absl::string_view shown) {
  Regex regex;
  regex.shown_ = ShowJson(std::string(shown));
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t error_offset = 0;
  // Anchored: a search would begin at each of the text's positions anew, without a limit over all of them. Property
  // names in a pattern that is literal, and the UTF check there, are PCRE2's business.
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_ANCHORED | options | ((options & PCRE2_LITERAL) ? 0 : PCRE2_UCP),
                                   &error, &error_offset, context.get());
  if (code == nullptr) {
    unsigned char message[256];
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::InvalidArgumentError(
        absl::StrCat("the pattern ", regex.shown_, ": ", reinterpret_cast<const char*>(message)));
  }
  regex.code_ = std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* owned) { pcre2_code_free(const_cast<pcre2_code*>(owned)); });
  // Where there is no JIT, the interpreter does the same.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return regex;
}

absl::StatusOr<int64_t> Regex::MatchAt(absl::string_view text, size_t position, RegexScratch& scratch) const {
  RETURN_IF_ERROR(scratch.CheckTime());
  const int result = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), position,
                                 PCRE2_NO_UTF_CHECK, scratch.match_data_, scratch.context_);
  // 0: there are more groups than the match data keeps, of which only the first is wanted.
  if (result >= 0) return static_cast<int64_t>(pcre2_get_ovector_pointer(scratch.match_data_)[1]);
  if (result == PCRE2_ERROR_NOMATCH) return -1;
  unsigned char message[256];
  pcre2_get_error_message(result, message, sizeof(message));
  return absl::InvalidArgumentError(absl::StrCat("the pattern ", shown_, " cannot be matched at byte ", position, ": ",
                                                 reinterpret_cast<const char*>(message)));
}

}  // namespace grpo
