// What every algorithm that has teachers has in common: the losses that their keys ask for, the policies that are read
// for them, and what is wrong about them. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_TEACHERS_H_
#define GRPO_TRAINER_ALGORITHM_TEACHERS_H_

#include <map>
#include <string>
#include <vector>

#include "model/config.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/loss/teacher_options.h"
#include "trainer/loss/term.h"
#include "trainer/plugin.h"

namespace grpo {

// Keys of an algorithm.
struct Teachers {
  SoftLabelsOptions soft_labels;
  FeaturesOptions features;

  template <class V>
  void Visit(V& v) {
    soft_labels.Visit(v);
    v("features", features, {.help = "Layers of a teacher that the student's are to be like; beside the other terms."});
  }

  bool has_features() const { return !features.teacher.empty(); }
  // Entries a token of what was stored, as the soft labels need them; 0 when no teacher is stored.
  int64_t StoredTopK() const;
  // The terms soft_labels, counted `coefficient`, and features; each where there is a teacher for it.
  std::vector<LossTerm> Losses(const Schedule& coefficient) const;
  // Those whose outputs the terms read, each once.
  std::vector<FrozenPolicy> Frozen() const;
  std::vector<Reference> References() const;
  std::vector<Conflict> Conflicts() const;
  std::vector<Conflict> ShapeConflicts(const ModelConfig& student,
                                       const std::map<std::string, const ModelConfig*>& frozen) const;
  LossNeed Need(const ModelConfig& student, const std::map<std::string, const ModelConfig*>& frozen) const;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_TEACHERS_H_
