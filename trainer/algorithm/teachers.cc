#include "trainer/algorithm/teachers.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "configs/load.h"

namespace grpo {

int64_t Teachers::StoredTopK() const {
  const auto& teachers = soft_labels.teachers;
  const bool stored = std::any_of(teachers.begin(), teachers.end(), [](const auto& teacher) { return teacher.stored; });
  return stored ? soft_labels.top_k : 0;
}

std::vector<LossTerm> Teachers::Losses(const Schedule& coefficient) const {
  std::vector<LossTerm> terms;
  if (!soft_labels.teachers.empty())
    terms.push_back({.name = "soft_labels", .options = ToSection(soft_labels, {}), .coefficient = coefficient});
  if (has_features()) terms.push_back({.name = "features", .options = ToSection(features, {})});
  return terms;
}

std::vector<FrozenPolicy> Teachers::Frozen() const {
  std::vector<FrozenPolicy> frozen;
  const auto add = [&](const std::string& policy) {
    const auto same = [&](const FrozenPolicy& other) { return other.policy == policy; };
    if (!policy.empty() && std::none_of(frozen.begin(), frozen.end(), same)) frozen.push_back({policy, ""});
  };
  for (const TeacherOptions& teacher : soft_labels.teachers) add(teacher.policy);
  add(features.teacher);
  return frozen;
}

std::vector<Reference> Teachers::References() const {
  std::vector<Reference> references;
  for (size_t i = 0; i < soft_labels.teachers.size(); ++i)
    references.push_back({.key = absl::StrCat("teachers.", i, ".policy"),
                          .section = "policies",
                          .value = soft_labels.teachers[i].policy,
                          .teaches = true});
  references.push_back({.key = "features.teacher", .section = "policies", .value = features.teacher, .teaches = true});
  return references;
}

std::vector<Conflict> Teachers::Conflicts() const {
  std::vector<Conflict> conflicts;
  for (size_t i = 0; i < soft_labels.teachers.size(); ++i) {
    const TeacherOptions& teacher = soft_labels.teachers[i];
    const std::string key = absl::StrCat("teachers.", i);
    if (teacher.stored == !teacher.policy.empty()) {
      conflicts.push_back({absl::StrCat(key, ".policy"),
                           teacher.stored
                               ? "stands beside stored: a teacher is one of the two; take one away"
                               : "is empty: name a policy, or set stored to true for what a synthesize stage "
                                 "with teacher_top_k stored"});
    }
    if (!teacher.stored) continue;
    if (soft_labels.top_k == 0) {
      conflicts.push_back(
          {"top_k", "is 0, and a stored teacher has only its most likely tokens; set it to what was stored, or less"});
    }
    if (!teacher.temperature.Stays(1) && soft_labels.tail != "renormalised") {
      conflicts.push_back({absl::StrCat(key, ".temperature"),
                           "is not 1, and of a stored teacher the tail at another temperature is not known; set tail "
                           "to renormalised, or the temperature to 1"});
    }
  }
  if (has_features() && features.mse_weight == 0 && features.cosine_weight == 0)
    conflicts.push_back({"features", "has mse_weight 0 and cosine_weight 0: nothing is compared; raise one"});
  return conflicts;
}

std::vector<Conflict> Teachers::ShapeConflicts(const ModelConfig& student,
                                               const std::map<std::string, const ModelConfig*>& frozen) const {
  std::vector<Conflict> conflicts;
  const auto teacher = frozen.find(features.teacher);
  if (teacher == frozen.end()) return conflicts;
  const auto check = [&](const std::string& key, int64_t layer, int64_t num_layers, const char* whose) {
    if (layer <= num_layers) return;
    conflicts.push_back({key, absl::StrCat("is ", layer, ", and ", whose, " has ", num_layers,
                                           " layers, counted from 1; name one of them")});
  };
  for (size_t i = 0; i < features.pairs.size(); ++i) {
    const std::string key = absl::StrCat("features.pairs.", i);
    check(absl::StrCat(key, ".student"), features.pairs[i].student, student.num_layers, "the student");
    check(absl::StrCat(key, ".teacher"), features.pairs[i].teacher, teacher->second->num_layers, "the teacher");
  }
  return conflicts;
}

LossNeed Teachers::Need(const ModelConfig& student, const std::map<std::string, const ModelConfig*>& frozen) const {
  const auto teacher = frozen.find(features.teacher);
  if (teacher == frozen.end()) return {};
  const std::vector<LayerPair> pairs = features.Pairs(student.num_layers, teacher->second->num_layers);
  std::set<int64_t> layers;
  for (const LayerPair& pair : pairs) layers.insert(pair.teacher);
  LossNeed need;
  need.num_layers_read[features.teacher] = static_cast<int64_t>(layers.size());
  // A projection for each pair, where the widths differ.
  const int64_t width = student.hidden_size, teacher_width = teacher->second->hidden_size;
  if (width != teacher_width) need.num_parameters = static_cast<int64_t>(pairs.size()) * width * teacher_width;
  return need;
}

}  // namespace grpo
