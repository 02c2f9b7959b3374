// Keys of a synthesize stage that say who writes its traces and which of them are kept, and what they need from the
// run's files. Links no torch.
#ifndef GRPO_TRAINER_STAGE_DISTILLATION_KEYS_H_
#define GRPO_TRAINER_STAGE_DISTILLATION_KEYS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/source.h"
#include "trainer/plugin.h"
#include "trainer/stage/decontaminate.h"
#include "trainer/stage/difficulty.h"
#include "trainer/stage/files.h"
#include "trainer/stage/judged.h"
#include "trainer/stage/pseudo_labels.h"
#include "trainer/stage/rewrite.h"
#include "trainer/stage/selection.h"
#include "trainer/stage/teacher_shares.h"
#include "trainer/stage/traces.h"

namespace grpo {

// Keys that stand beside those of JudgedSampling.
struct DistillationKeys {
  std::vector<TeacherShare> teachers;
  int64_t max_traces_per_problem = 0;
  SelectionOptions select;
  std::vector<DifficultyBand> difficulty;
  PseudoLabelOptions pseudo_labels;
  RewriteOptions rewrite;
  DecontaminateOptions decontaminate;

  template <class V>
  void Visit(V& v) {
    v("teachers", teachers,
      {.help = "Several policies that write, in place of `policy`; each problem has one of them."});
    v("max_traces_per_problem", max_traces_per_problem,
      {.help = "Accepted completions kept of one problem, those that select.prefer says; 0 keeps all that differ.",
       .min = 0,
       .max = 4096});
    v("select", select, {.help = "What is asked of a completion beside the rules."});
    v("difficulty", difficulty,
      {.help = "How many problems of each band of solve rates are kept; empty keeps all. What was measured of each "
               "problem is written beside the traces, to FILE.problems.jsonl, whatever is kept."});
    v("pseudo_labels", pseudo_labels, {.help = "Answers for problems that have none."});
    v("rewrite", rewrite, {.help = "New problems in place of solutions."});
    v("decontaminate", decontaminate, {.help = "Evaluation sets that nothing is to be learned of."});
  }

  // Who writes: `teachers`, or `policy` alone.
  std::vector<TeacherShare> Teachers(const JudgedSampling& judged) const;
  // Of these keys and of `judged`, each with its key.
  std::vector<Reference> References(const JudgedSampling& judged) const;
  std::vector<RuleReference> Rules(const JudgedSampling& judged) const;
  std::vector<Conflict> Conflicts(const JudgedSampling& judged) const;
  // What each teacher reads, and the evaluation sets.
  std::vector<DataUse> Reads(const JudgedSampling& judged, const std::string& reader) const;
  // `seed` is the run's, `stage` the stage's name.
  TraceSelector::Options Selector(const JudgedSampling& judged, uint64_t seed, const std::string& stage) const;
};

// The problems of the evaluation sets, each of which has an end (Preflight has seen to it). Null when there are none to
// keep out. Errors of RunFiles::OpenData and DataSource::Check.
absl::StatusOr<std::unique_ptr<Decontamination>> OpenDecontamination(const RunFiles& files,
                                                                     const DecontaminateOptions& options);

// The first `count` problems of `data` that `contaminated` lets pass, by their index; all of them where it is null.
// DataSource::Check's errors.
absl::StatusOr<std::vector<int64_t>> CleanProblems(const DataSource& data, int64_t count,
                                                   const Decontamination* contaminated);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_DISTILLATION_KEYS_H_
