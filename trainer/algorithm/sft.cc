// Supervised fine-tuning on traces: cross-entropy on completion tokens only. On traces of a stronger policy it is
// distillation as in DeepSeek-R1 (arXiv:2501.12948, section 2.4).
#include <utility>

#include "common/status_macros.h"
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/trace_streams.h"

namespace grpo {
namespace {

struct Options {
  int64_t traces_per_step = 64;
  std::string loss_reduction = "token_mean";

  template <class V>
  void Visit(V& v) {
    v("traces_per_step", traces_per_step,
      {.help = "Traces (a problem and its completion) in one step's batch.",
       .unit = "traces",
       .min = 1,
       .max = 1 << 24});
    v("loss_reduction", loss_reduction,
      {.help = "token_mean: every completion token of the batch counts alike; sequence_mean: every completion counts "
               "alike, its tokens share its weight.",
       .choices = {"token_mean", "sequence_mean"}});
  }
};

class Sft : public Algorithm {
 public:
  explicit Sft(const Options& options) : options_(options) {}

  StepPlan plan() const override { return TracesPlan{.traces_per_step = options_.traces_per_step}; }
  std::vector<LossTerm> losses() const override { return {{.name = "cross_entropy"}}; }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    ASSIGN_OR_RETURN(const TracesInput* const given, InputOf<TracesInput>(input));
    std::vector<TokenStreams> sequences;
    for (const TokenizedTrace& trace : given->traces) sequences.push_back(TraceStreams(trace));
    return CrossEntropyBatch(std::move(sequences), options_.loss_reduction);
  }

 private:
  const Options options_;
};

}  // namespace

AlgorithmPlugin Algorithm_sft() {
  return MakeAlgorithmPlugin<Options, Sft>("Supervised fine-tuning: cross-entropy on the completions of traces.");
}

}  // namespace grpo
