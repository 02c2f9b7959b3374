// Which of the accepted completions of a problem are kept: by language, length and repetition, and, where only some may
// stay, which. Beside it the rules of a profile may judge anything (reward/). Links no torch.
#ifndef GRPO_TRAINER_STAGE_SELECTION_H_
#define GRPO_TRAINER_STAGE_SELECTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "configs/visit.h"
#include "reward/language.h"
#include "trainer/plugin.h"

namespace grpo {

// `select` of a stage.
struct SelectionOptions {
  std::string prefer = "first";
  std::string language = "";
  double min_language_share = 0.95;
  int64_t min_tokens = 0, max_tokens = 0;
  double max_repeated_frac = 1;
  int64_t repetition_ngram = 4;

  template <class V>
  void Visit(V& v) {
    std::vector<const char*> languages = Languages();
    languages.insert(languages.begin(), "");
    v("prefer", prefer,
      {.help =
           "Which completions stay where max_traces_per_problem leaves some out: the first sampled; the shortest; or "
           "most_varied, the first sampled and then always the one that has least in common with those that stay "
           "(n-grams of three words).",
       .choices = {"first", "shortest", "most_varied"}});
    v("language", language,
      {.help =
           "The language that completions are to keep to, told by its script as the rule language_consistency does; "
           "empty asks for none.",
       .choices = std::move(languages)});
    v("min_language_share", min_language_share,
      {.help = "With `language`: the share of its words that a completion has at least.", .min = 0, .max = 1});
    v("min_tokens", min_tokens,
      {.help = "A shorter completion is left out; one that comes without token ids is measured in words.",
       .unit = "tokens",
       .min = 0,
       .max = 1e9});
    v("max_tokens", max_tokens,
      {.help = "A longer completion is left out; 0 sets no limit.", .unit = "tokens", .min = 0, .max = 1e9});
    v("max_repeated_frac", max_repeated_frac,
      {.help = "The share of a completion's n-grams of words that may have stood in it before, as the rule "
               "repetition_penalty counts them; 1 allows any.",
       .min = 0,
       .max = 1});
    v("repetition_ngram", repetition_ngram, {.help = "Words in such an n-gram.", .unit = "words", .min = 1, .max = 64});
  }

  // Keys as they stand below `select`.
  std::vector<Conflict> Conflicts() const;
};

// What a text itself says about being kept. Thread-safe.
class TextFilter {
 public:
  explicit TextFilter(const SelectionOptions& options);

  // Empty when the text passes, else the first of too_short, too_long, other_language, repetitive that holds.
  std::string RejectionReason(absl::string_view text, int64_t num_tokens) const;

 private:
  const SelectionOptions options_;
  // Null where any language will do.
  const std::unique_ptr<const LanguageMeter> meter_;
};

// A completion that may be kept. The text outlives it.
struct TraceCandidate {
  absl::string_view text;
  int64_t num_tokens = 0;
};

// The positions, rising, of those that stay when up to `count` may; 0: all. `prefer` as in SelectionOptions; the first
// of equals goes before. Pure.
std::vector<size_t> ChooseTraces(const std::vector<TraceCandidate>& candidates, int64_t count,
                                 const std::string& prefer);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_SELECTION_H_
