// What was stored of a teacher beside a trace, as the streams that losses read.
#ifndef GRPO_TRAINER_ALGORITHM_STORED_STREAMS_H_
#define GRPO_TRAINER_ALGORITHM_STORED_STREAMS_H_

#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/streams.h"

namespace grpo {

// Adds teacher_top_ids and teacher_top_logprob (trainer/batch/streams.h): the trace's at the tokens of its completion,
// zeros in its prompt. REQUIRES: the trace has them, and the sequence is its prompt and its completion. Pure.
void AddStoredTopK(const TokenizedTrace& trace, TokenStreams* sequence);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_STORED_STREAMS_H_
