// Answers for problems that have none: what most samples of a problem say, where enough of them do. Links no torch.
#ifndef GRPO_TRAINER_STAGE_PSEUDO_LABELS_H_
#define GRPO_TRAINER_STAGE_PSEUDO_LABELS_H_

#include <string>
#include <vector>

#include "configs/visit.h"

namespace grpo {

// `pseudo_labels` of a stage.
struct PseudoLabelOptions {
  double min_share = 0;
  double min_margin = 0;

  template <class V>
  void Visit(V& v) {
    v("min_share", min_share,
      {.help =
           "A problem without an answer gets the one that most of its samples give, when so large a share of all its "
           "samples gives it (equal answers as accuracy_rule reads them count together; a sample without an answer "
           "counts as one that gives another). Its traces are those that give it. 0: such problems are not "
           "labelled.",
       .min = 0,
       .max = 1});
    v("min_margin", min_margin,
      {.help = "And when its share is so much above that of the next most frequent answer.", .min = 0, .max = 1});
  }

  bool enabled() const { return min_share > 0; }
};

// What one problem's samples say.
struct PseudoLabel {
  // The majority's, as its first member writes it; empty when nobody answers.
  std::string answer;
  // The majority's share of all samples, and how much it is above the next answer's.
  double share = 0, margin = 0;
  // Whether both are large enough.
  bool is_strong = false;
  // For each sample whether it gives the answer.
  std::vector<bool> is_majority;
};

// Of the samples' answers, as reward/extract.h gives them; empty where there is none. Pure.
PseudoLabel LabelByMajority(const std::vector<std::string>& answers, const PseudoLabelOptions& options);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_PSEUDO_LABELS_H_
