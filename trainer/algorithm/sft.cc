// Supervised fine-tuning on traces: cross-entropy on completion tokens only. On traces of a stronger policy it is
// distillation as in DeepSeek-R1 (arXiv:2501.12948, section 2.4).
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/trace_streams.h"

namespace grpo {
namespace {

class Sft : public Algorithm {
 public:
  explicit Sft(const TraceBatchOptions& options) : options_(options) {}

  StepPlan plan() const override { return TracesPlan{.traces_per_step = options_.traces_per_step}; }
  std::vector<LossTerm> losses() const override { return {{.name = "cross_entropy"}}; }
  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override { return options_.Batch(input); }

 private:
  const TraceBatchOptions options_;
};

}  // namespace

AlgorithmPlugin Algorithm_sft() {
  return MakeAlgorithmPlugin<TraceBatchOptions, Sft>(
      "Supervised fine-tuning: cross-entropy on the completions of traces.");
}

}  // namespace grpo
