// A teacher's whole distribution as the label of each token (soft labels, arXiv:1503.02531), on traces that it wrote,
// mixed with the cross-entropy on the traces themselves.
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/trace_distillation.h"

namespace grpo {
namespace {

class LogitDistill : public TraceDistillation {
 public:
  using TraceDistillation::TraceDistillation;

 protected:
  std::vector<Conflict> OwnConflicts() const override {
    std::vector<Conflict> conflicts = TraceDistillation::OwnConflicts();
    if (options().teachers.soft_labels.teachers.empty())
      conflicts.push_back({"teachers", "is empty: name at least one, such as [{policy: teacher}]"});
    return conflicts;
  }
};

}  // namespace

AlgorithmPlugin Algorithm_logit_distill() {
  return MakeAlgorithmPlugin<TraceDistillationOptions, LogitDistill>(
      "Soft labels: the divergence from teachers' distributions on traces, mixed with cross-entropy.");
}

}  // namespace grpo
