// Distillation on traces: what logit_distill and feature_distill are. Links no torch.
//
//   loss = alpha * cross-entropy on the trace's own tokens + (1 - alpha) * soft labels + features
//
// alpha may change over the stage; soft labels and features are losses (trainer/loss/soft_labels.cc, features.cc).
#ifndef GRPO_TRAINER_ALGORITHM_TRACE_DISTILLATION_H_
#define GRPO_TRAINER_ALGORITHM_TRACE_DISTILLATION_H_

#include <map>
#include <string>
#include <vector>

#include "trainer/algorithm/algorithm.h"
#include "trainer/algorithm/teachers.h"
#include "trainer/algorithm/trace_streams.h"
#include "trainer/schedule.h"

namespace grpo {

struct TraceDistillationOptions {
  TraceBatchOptions batch;
  ShareSchedule alpha;
  Teachers teachers;

  template <class V>
  void Visit(V& v) {
    batch.Visit(v);
    v("alpha", alpha,
      {.help = "Share of the cross-entropy on the traces' tokens (the hard labels); the soft labels have the rest."});
    teachers.Visit(v);
  }
};

class TraceDistillation : public Algorithm {
 public:
  explicit TraceDistillation(TraceDistillationOptions options) : options_(std::move(options)) {}

  StepPlan plan() const override;
  std::vector<LossTerm> losses() const override;
  std::vector<FrozenPolicy> frozen() const override { return options_.teachers.Frozen(); }
  std::vector<Reference> references() const override { return options_.teachers.References(); }
  std::vector<Conflict> ShapeConflicts(const ModelConfig& student,
                                       const std::map<std::string, const ModelConfig*>& frozen) const override {
    return options_.teachers.ShapeConflicts(student, frozen);
  }
  LossNeed loss_need(const ModelConfig& student,
                     const std::map<std::string, const ModelConfig*>& frozen) const override {
    return options_.teachers.Need(student, frozen);
  }
  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override;

 protected:
  std::vector<Conflict> OwnConflicts() const override { return options_.teachers.Conflicts(); }
  const TraceDistillationOptions& options() const { return options_; }

 private:
  const TraceDistillationOptions options_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_TRACE_DISTILLATION_H_
