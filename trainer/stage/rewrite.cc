#include "trainer/stage/rewrite.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"

namespace grpo {

std::vector<Conflict> RewriteOptions::Conflicts() const {
  if (!enabled() || absl::StrContains(prompt_template, "{problem}")) return {};
  return {{"template", "has no {problem}: write it, in single braces, where the problem stands"}};
}

std::string RewritePrompt(const RewriteOptions& options, absl::string_view problem) {
  return absl::StrReplaceAll(options.prompt_template, {{"{problem}", problem}});
}

std::string RewrittenProblem(absl::string_view completion) {
  constexpr absl::string_view kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";
  const size_t thought = completion.rfind(kThinkEnd);
  absl::string_view text = completion;
  if (thought != absl::string_view::npos) {
    text.remove_prefix(thought + kThinkEnd.size());
  } else if (absl::StrContains(text, "<think>")) {
    // It never came to an end.
    return "";
  }
  const size_t last_end = text.rfind(kAnswerEnd);
  size_t begin = last_end == absl::string_view::npos ? last_end : text.rfind(kAnswer, last_end);
  if (begin != absl::string_view::npos) {
    begin += kAnswer.size();
    // A second end behind the first closes nothing.
    text = text.substr(begin, text.find(kAnswerEnd, begin) - begin);
  }
  return std::string(absl::StripAsciiWhitespace(text));
}

}  // namespace grpo
