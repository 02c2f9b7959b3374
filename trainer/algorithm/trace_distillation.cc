#include "trainer/algorithm/trace_distillation.h"

#include "common/status_macros.h"

namespace grpo {

StepPlan TraceDistillation::plan() const {
  return TracesPlan{.traces_per_step = options_.batch.traces_per_step, .stored_top_k = options_.teachers.StoredTopK()};
}

std::vector<LossTerm> TraceDistillation::losses() const {
  std::vector<LossTerm> terms = options_.teachers.Losses(options_.alpha.OneMinus(1));
  if (!options_.alpha.Stays(0)) terms.push_back({.name = "cross_entropy", .coefficient = options_.alpha});
  return terms;
}

absl::StatusOr<StepBatch> TraceDistillation::Prepare(const StepInput& input) const {
  ASSIGN_OR_RETURN(StepBatch batch, options_.batch.Batch(input));
  // A target counts as much in the soft terms as in the hard one.
  for (std::vector<TokenStreams>& minibatch : batch.minibatches) {
    for (TokenStreams& sequence : minibatch)
      sequence.streams[stream::kDistillWeight] = sequence.streams.at(stream::kCeWeight);
  }
  return batch;
}

}  // namespace grpo
