#include "trainer/stage/distillation_keys.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// Conflicts of what stands below `key`.
void AddBelow(const std::string& key, std::vector<Conflict> found, std::vector<Conflict>* conflicts) {
  for (Conflict& conflict : found) {
    conflict.key = absl::StrCat(key, ".", conflict.key);
    conflicts->push_back(std::move(conflict));
  }
}

}  // namespace

std::vector<TeacherShare> DistillationKeys::Teachers(const JudgedSampling& judged) const {
  if (!teachers.empty()) return teachers;
  return {{.policy = judged.policy, .share = 1}};
}

std::vector<Reference> DistillationKeys::References(const JudgedSampling& judged) const {
  std::vector<Reference> references;
  // `policy` stands for one teacher; beside several it is a conflict.
  for (Reference& reference : judged.References()) {
    if (reference.key != "policy" || teachers.empty()) references.push_back(std::move(reference));
  }
  for (size_t i = 0; i < teachers.size(); ++i) {
    references.push_back({.key = absl::StrCat("teachers.", i, ".policy"),
                          .section = "policies",
                          .value = teachers[i].policy,
                          .required = true,
                          .teaches = true,
                          .takes_endpoint = true});
  }
  for (size_t i = 0; i < decontaminate.data.size(); ++i) {
    references.push_back({.key = absl::StrCat("decontaminate.data.", i),
                          .section = "data",
                          .value = decontaminate.data[i],
                          .required = true});
  }
  return references;
}

std::vector<RuleReference> DistillationKeys::Rules(const JudgedSampling& judged) const {
  return {{.key = "accuracy_rule", .rewards = judged.rewards, .rule = judged.accuracy_rule},
          {.key = "format_rule", .rewards = judged.rewards, .rule = judged.format_rule}};
}

std::vector<Conflict> DistillationKeys::Conflicts(const JudgedSampling& judged) const {
  std::vector<Conflict> conflicts;
  if (!teachers.empty() && !judged.policy.empty())
    conflicts.push_back({"policy", "stands beside teachers, which name who writes: take one of the two away"});
  AddBelow("teachers", grpo::Conflicts(teachers), &conflicts);
  AddBelow("select", select.Conflicts(), &conflicts);
  AddBelow("difficulty", grpo::Conflicts(difficulty), &conflicts);
  AddBelow("rewrite", rewrite.Conflicts(), &conflicts);
  if (judged.accuracy_rule.empty() && !pseudo_labels.enabled() && !rewrite.enabled()) {
    conflicts.push_back(
        {"accuracy_rule",
         "is empty, and says which completions are right: name a rule of the profile, or label problems "
         "by their majority (pseudo_labels.min_share)"});
  }
  if (rewrite.enabled() && pseudo_labels.enabled()) {
    conflicts.push_back({"pseudo_labels.min_share",
                         "stands beside rewrite: a stage writes problems, and the one that reads them answers them"});
  }
  if (rewrite.enabled() && !difficulty.empty())
    conflicts.push_back({"difficulty", "stands beside rewrite, where nothing is solved: take it away"});
  return conflicts;
}

std::vector<DataUse> DistillationKeys::Reads(const JudgedSampling& judged, const std::string& reader) const {
  std::vector<DataUse> uses;
  for (const TeacherShare& teacher : Teachers(judged)) {
    DataUse& use = uses.emplace_back(judged.Reads(reader));
    use.policy = teacher.policy;
    use.answers_may_lack = pseudo_labels.enabled() || rewrite.enabled();
  }
  for (const std::string& name : decontaminate.data) {
    uses.push_back(
        {.kind = DataUse::Kind::kTexts, .reader = "decontaminate of " + reader, .data = name, .num_items = 0});
  }
  return uses;
}

TraceSelector::Options DistillationKeys::Selector(const JudgedSampling& judged, uint64_t seed,
                                                  const std::string& stage) const {
  return {.accuracy_rule = judged.accuracy_rule,
          .format_rule = judged.format_rule,
          .max_traces_per_problem = max_traces_per_problem,
          .data = judged.data,
          .select = select,
          .difficulty = difficulty,
          .pseudo_labels = pseudo_labels,
          .rewrites = rewrite.enabled(),
          .seed = CombineSeeds(seed, HashName("difficulty of " + stage))};
}

absl::StatusOr<std::unique_ptr<Decontamination>> OpenDecontamination(const RunFiles& files,
                                                                     const DecontaminateOptions& options) {
  if (options.data.empty()) return nullptr;
  auto contaminated = std::make_unique<Decontamination>(options.ngram, options.max_occurrences);
  for (const std::string& name : options.data) {
    ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> data, files.OpenData(name));
    for (int64_t i = 0; i < data->size(); ++i) contaminated->Add(data->At(i).prompt.text());
    RETURN_IF_ERROR(data->Check());
  }
  return contaminated;
}

absl::StatusOr<std::vector<int64_t>> CleanProblems(const DataSource& data, int64_t count,
                                                   const Decontamination* contaminated) {
  std::vector<int64_t> problems;
  for (int64_t i = 0; i < count; ++i) {
    if (contaminated == nullptr || !contaminated->IsContaminated(data.At(i).prompt.text())) problems.push_back(i);
  }
  RETURN_IF_ERROR(data.Check());
  return problems;
}

}  // namespace grpo
