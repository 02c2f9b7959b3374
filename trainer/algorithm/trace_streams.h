// The sequence of a trace, as every method that learns from traces reads it. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_TRACE_STREAMS_H_
#define GRPO_TRAINER_ALGORITHM_TRACE_STREAMS_H_

#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/streams.h"

namespace grpo {

// Prompt and completion ids, and as targets the completion's tokens; where the trace brings a teacher's top-k, the
// streams teacher_top_ids and teacher_top_logprob (zeros in the prompt). Pure.
TokenStreams TraceStreams(const TokenizedTrace& trace);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_TRACE_STREAMS_H_
