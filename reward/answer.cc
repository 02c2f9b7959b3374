#include "reward/answer.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "configs/load.h"

namespace grpo {
namespace {

constexpr size_t kMaxLoggedBytes = 4096;
// Instructions: with as many states the slowest of RE2's engines takes a second for a megabyte.
constexpr int kMaxProgramSize = 1000;

}  // namespace

Extraction ReadAnswer(const RuleInput& input, const AnswerOptions& options) {
  return ExtractAnswer(input.completion, {.prefill = options.prefill || IsPrefilled(input.prompt),
                                          .plain_fallback = options.plain_fallback});
}

std::optional<std::string> ReadReference(absl::string_view reference) {
  const Extraction extraction = ExtractAnswer(reference);
  if (extraction.outcome == v1::OUTCOME_SCORED) return extraction.Text();
  for (const absl::string_view mark : {"\\boxed", "\\fbox", "####", "<answer>"}) {
    if (absl::StrContains(reference, mark)) return std::nullopt;
  }
  return std::string(reference);
}

absl::string_view ThinkingOf(const RuleInput& input) {
  absl::string_view text = input.completion;
  const size_t end = text.rfind("</think>");
  text = text.substr(0, end);
  const size_t begin = text.find("<think>");
  if (begin != absl::string_view::npos) return text.substr(begin + 7);
  return end != absl::string_view::npos || IsPrefilled(input.prompt) ? text : absl::string_view();
}

std::string CutForLog(absl::string_view text) {
  return std::string(text.substr(0, kMaxLoggedBytes));
}

v1::Outcome BasisOutcome(const v1::RuleScore* basis) {
  if (basis == nullptr) return v1::OUTCOME_UNDECIDED;
  return basis->outcome() >= v1::OUTCOME_REFERENCE_UNPARSABLE ? basis->outcome() : v1::OUTCOME_SCORED;
}

absl::StatusOr<std::unique_ptr<RE2>> MakePattern(const std::string& pattern, const Section& section, const char* key) {
  RE2::Options options;
  options.set_log_errors(false);
  auto compiled = std::make_unique<RE2>(pattern, options);
  if (!compiled->ok()) {
    return SectionError(section, key,
                        absl::StrCat("RE2 cannot take this pattern: ", compiled->error(),
                                     "; look-around and back-references, which it leaves out, cannot be had in bounded "
                                     "time"));
  }
  if (compiled->ProgramSize() > kMaxProgramSize) {
    return SectionError(section, key,
                        absl::StrCat("compiles to ", compiled->ProgramSize(), " instructions, more than the ",
                                     kMaxProgramSize, " that stay fast; use smaller repeat counts or two rules"));
  }
  return compiled;
}

int64_t CountMatches(const RE2& pattern, absl::string_view text, int64_t enough) {
  const re2::StringPiece whole(text.data(), text.size());
  int64_t count = 0;
  re2::StringPiece match;
  for (size_t at = 0; count < enough && at <= text.size(); ++count) {
    if (!pattern.Match(whole, at, text.size(), RE2::UNANCHORED, &match, 1)) break;
    const size_t end = match.data() + match.size() - whole.data();
    at = match.empty() ? end + 1 : end;
  }
  return count;
}

}  // namespace grpo
