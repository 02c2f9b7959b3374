// Steps that learn from traces: the keys, the sequence of a trace and the batch, the same for every method. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_TRACE_STREAMS_H_
#define GRPO_TRAINER_ALGORITHM_TRACE_STREAMS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/streams.h"

namespace grpo {

// Prompt and completion ids, and as targets the completion's tokens; where the trace brings a teacher's top-k, the
// streams teacher_top_ids and teacher_top_logprob (zeros in the prompt). Pure.
TokenStreams TraceStreams(const TokenizedTrace& trace);

// Keys of an algorithm.
struct TraceBatchOptions {
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

  // Of a TracesInput: CrossEntropyBatch of its traces' streams. Internal for another input.
  absl::StatusOr<StepBatch> Batch(const StepInput& input) const;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_TRACE_STREAMS_H_
