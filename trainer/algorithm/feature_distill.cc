// A teacher's hidden states as what the student's are to be (FitNets, arXiv:1412.6550), on traces, beside the
// cross-entropy on the traces themselves and, where `teachers` names some, soft labels.
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/trace_distillation.h"

namespace grpo {
namespace {

class FeatureDistill : public TraceDistillation {
 public:
  using TraceDistillation::TraceDistillation;

 protected:
  std::vector<Conflict> OwnConflicts() const override {
    std::vector<Conflict> conflicts = TraceDistillation::OwnConflicts();
    if (!options().teachers.has_features())
      conflicts.push_back({"features.teacher", "is empty: name the policy whose layers the student's are to be like"});
    return conflicts;
  }
};

}  // namespace

AlgorithmPlugin Algorithm_feature_distill() {
  return MakeAlgorithmPlugin<TraceDistillationOptions, FeatureDistill>(
      "Features: the student's layers come near a teacher's on traces, mixed with cross-entropy.");
}

}  // namespace grpo
