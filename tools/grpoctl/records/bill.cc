#include "tools/grpoctl/records/bill.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/grpoctl/records/figures.h"
#include "tools/grpoctl/text.h"
#include "trainer/records/metrics.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

// Who built on whom. Names that no report has lead nowhere.
class Lineage {
 public:
  explicit Lineage(const std::vector<StageReport>& stages) {
    for (const StageReport& stage : stages) by_name_[stage.name] = &stage;
  }

  const StageReport* Find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  // The stages that made the weights with which `stage` began: with what they learned from, and, `with_teachers`, with
  // the making of those who taught and wrote.
  std::set<const StageReport*> MakersOf(const StageReport& stage, bool with_teachers) const {
    std::set<const StageReport*> makers;
    AddWeights(stage.weights_from, with_teachers, &makers);
    return makers;
  }

 private:
  void AddWeights(const std::string& name, bool with_teachers, std::set<const StageReport*>* makers) const {
    const StageReport* const stage = Find(name);
    if (stage == nullptr || !makers->insert(stage).second) return;
    AddWeights(stage->weights_from, with_teachers, makers);
    for (const std::string& writer : stage->learned_from) AddWriter(writer, with_teachers, makers);
    if (!with_teachers) return;
    for (const std::string& teacher : stage->taught_by) AddWeights(teacher, with_teachers, makers);
  }
  // Texts may be made of texts.
  void AddWriter(const std::string& name, bool with_teachers, std::set<const StageReport*>* makers) const {
    const StageReport* const stage = Find(name);
    if (stage == nullptr || !makers->insert(stage).second) return;
    for (const std::string& writer : stage->learned_from) AddWriter(writer, with_teachers, makers);
    if (with_teachers) AddWeights(stage->weights_from, with_teachers, makers);
  }

  std::map<std::string, const StageReport*> by_name_;
};

bool Measures(const StageReport& stage) {
  return StageViewOf(stage.type).table.by_policy;
}

// Whether it is the first measurement of the policy as it was left at the end.
bool MeasuresTheResult(const StageReport& measurement, const std::vector<StageReport>& stages) {
  if (!Measures(measurement)) return false;
  std::string final_weights;
  for (const StageReport& stage : stages) {
    if (Measures(stage) && stage.policy == measurement.policy) final_weights = stage.weights_from;
  }
  for (const StageReport& stage : stages) {
    if (Measures(stage) && stage.policy == measurement.policy && stage.weights_from == final_weights)
      return &stage == &measurement;
  }
  return false;
}

// The measurement of the policy as `weights_from` left it, under these conditions where there is one; of another state
// of it where that was not measured; null where it never was.
const StageReport* Measured(const std::string& policy, const std::string& weights_from, const std::string& conditions,
                            const std::vector<StageReport>& stages) {
  const StageReport* found = nullptr;
  int best = -1;
  for (const StageReport& stage : stages) {
    if (!Measures(stage) || stage.policy != policy) continue;
    const int fit = 2 * (stage.weights_from == weights_from) + (stage.conditions == conditions);
    if (fit >= best) found = &stage;
    best = std::max(best, fit);
  }
  return found;
}

// "1/5.7 of the parameters", "3.1 times the tokens/s": two significant digits, of whichever of the two is the larger.
std::string Ratio(double of_teacher, const char* what) {
  if (of_teacher == 1) return absl::StrCat("the same ", what);
  const std::string larger = absl::StrFormat("%.2g", of_teacher < 1 ? 1 / of_teacher : of_teacher);
  double times = 0;
  if (!absl::SimpleAtod(larger, &times) || times == 1) return absl::StrCat("about the same ", what);
  return of_teacher < 1 ? absl::StrCat("1/", FormatNumber(times), " of the ", what)
                        : absl::StrCat(FormatNumber(times), " times the ", what);
}

// Of the student's figure to the teacher's; nullopt where one of them has none.
std::optional<double> ShareOf(const StageReport& student, const StageReport& teacher, const std::string& metric) {
  const std::optional<Figure> own = FigureOf(student, metric), other = FigureOf(teacher, metric);
  if (!own || !other || own->value <= 0 || other->value <= 0) return std::nullopt;
  return own->value / other->value;
}

std::string Sentence(const StageReport& student, const StageReport& teacher) {
  std::vector<std::string> parts;
  const auto add = [&](const char* metric, const char* what) {
    if (const std::optional<double> share = ShareOf(student, teacher, metric)) parts.push_back(Ratio(*share, what));
  };
  add(metric::kNumParameters, "parameters");
  add(metric::kWeightBytes, "bytes of weights");
  add(metric::kWorkerPeakMemoryBytes, "memory of a worker");
  if (student.conditions == teacher.conditions) {
    add(metric::kTokensPerSecond, "tokens/s");
    if (const std::optional<double> share = ShareOf(student, teacher, metric::PassAt(1)))
      parts.push_back(absl::StrFormat("%.1f %% of pass@1", 100 * *share));
  }
  if (parts.empty()) return "";
  return Printable(
      absl::StrCat(student.policy, " to its teacher ", teacher.policy, ": ", absl::StrJoin(parts, ", "), "."));
}

// The other policies that taught `maker` or wrote for it, as they were measured in the state in which they did.
std::vector<const StageReport*> TeachersOf(const StageReport& maker, const std::string& conditions,
                                           const Lineage& lineage, const std::vector<StageReport>& stages) {
  std::vector<const StageReport*> teachers;
  for (const std::string& name : maker.learned_from) {
    if (const StageReport* const writer = lineage.Find(name); writer != nullptr)
      teachers.push_back(Measured(writer->policy, writer->weights_from, conditions, stages));
  }
  for (const std::string& policy : maker.teachers) {
    std::string weights_from;
    for (const std::string& name : maker.taught_by) {
      const StageReport* const trainer = lineage.Find(name);
      if (trainer != nullptr && trainer->policy == policy) weights_from = name;
    }
    teachers.push_back(Measured(policy, weights_from, conditions, stages));
  }
  return teachers;
}

}  // namespace

MakingCost CostOf(const StageReport& stage, const std::vector<StageReport>& stages) {
  const Lineage lineage(stages);
  MakingCost cost;
  for (const StageReport* maker : lineage.MakersOf(stage, /*with_teachers=*/false)) {
    cost.seconds += maker->seconds;
    cost.tokens += maker->tokens;
    cost.usd += maker->usd;
  }
  for (const StageReport* maker : lineage.MakersOf(stage, /*with_teachers=*/true))
    cost.seconds_with_teachers += maker->seconds;
  return cost;
}

std::vector<std::string> TeacherSentences(const std::vector<StageReport>& stages) {
  const Lineage lineage(stages);
  std::vector<std::string> sentences;
  for (const StageReport& student : stages) {
    if (!MeasuresTheResult(student, stages)) continue;
    std::set<const StageReport*> teachers;
    for (const StageReport* maker : lineage.MakersOf(student, /*with_teachers=*/false)) {
      for (const StageReport* teacher : TeachersOf(*maker, student.conditions, lineage, stages))
        teachers.insert(teacher);
    }
    for (const StageReport& teacher : stages) {
      if (teachers.count(&teacher) == 0 || teacher.policy == student.policy) continue;
      if (std::string sentence = Sentence(student, teacher); !sentence.empty())
        sentences.push_back(std::move(sentence));
    }
  }
  return sentences;
}

std::vector<std::string> RepeatedWork(const std::vector<StageReport>& stages) {
  std::vector<std::string> sentences;
  for (const StageReport& stage : stages) {
    if (stage.starts <= 1) continue;
    sentences.push_back(Printable(absl::StrCat("Stage ", stage.name, " was worked on in ", stage.starts,
                                               " starts of the run: its seconds and tokens are those of all of them, "
                                               "with what was done again.")));
  }
  return sentences;
}

}  // namespace grpo
