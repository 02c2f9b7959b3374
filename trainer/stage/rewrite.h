// Problems made of problems: what a teacher is told to rewrite, and the problem in what it answers. Links no torch.
#ifndef GRPO_TRAINER_STAGE_REWRITE_H_
#define GRPO_TRAINER_STAGE_REWRITE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "configs/visit.h"
#include "trainer/plugin.h"

namespace grpo {

// `rewrite` of a stage.
struct RewriteOptions {
  std::string prompt_template;

  template <class V>
  void Visit(V& v) {
    v("template", prompt_template,
      {.help =
           "What the policy is told, with {problem} where the problem stands: it writes a new problem in place of a "
           "solution, accuracy_rule is not asked, and the stage writes problems without answers and completions, "
           "which another synthesize stage with pseudo_labels answers. Empty: problems are solved."});
  }

  bool enabled() const { return !prompt_template.empty(); }
  // Keys as they stand below `rewrite`.
  std::vector<Conflict> Conflicts() const;
};

// The template with the problem in it; what stands in the problem is not read as a template again. Pure.
std::string RewritePrompt(const RewriteOptions& options, absl::string_view problem);

// The new problem in a completion: what stands behind the last </think>, of that the content of the last whole
// <answer>...</answer> if there is one, without blanks at its ends. Empty when there is none. Pure.
std::string RewrittenProblem(absl::string_view completion);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_REWRITE_H_
