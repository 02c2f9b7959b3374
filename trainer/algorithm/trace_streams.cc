#include "trainer/algorithm/trace_streams.h"

#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "trainer/algorithm/reduction.h"

namespace grpo {

TokenStreams TraceStreams(const TokenizedTrace& trace) {
  TokenStreams sequence;
  sequence.ids.assign(trace.prompt_ids.begin(), trace.prompt_ids.end());
  sequence.ids.insert(sequence.ids.end(), trace.completion_ids.begin(), trace.completion_ids.end());
  sequence.trainable_mask.assign(trace.prompt_ids.size(), false);
  sequence.trainable_mask.resize(sequence.ids.size(), true);
  if (trace.top_ids.empty()) return sequence;
  const int64_t width = static_cast<int64_t>(trace.top_ids.size() / trace.completion_ids.size());
  const size_t in_prompt = trace.prompt_ids.size() * static_cast<size_t>(width);
  std::vector<int64_t> ids(in_prompt, 0);
  ids.insert(ids.end(), trace.top_ids.begin(), trace.top_ids.end());
  std::vector<float> logprobs(in_prompt, 0.0f);
  logprobs.insert(logprobs.end(), trace.top_logprobs.begin(), trace.top_logprobs.end());
  sequence.streams[stream::kTeacherTopIds] = Stream(std::move(ids), width);
  sequence.streams[stream::kTeacherTopLogprob] = Stream(std::move(logprobs), width);
  return sequence;
}

absl::StatusOr<StepBatch> TraceBatchOptions::Batch(const StepInput& input) const {
  ASSIGN_OR_RETURN(const TracesInput* const given, InputOf<TracesInput>(input));
  std::vector<TokenStreams> sequences;
  for (const TokenizedTrace& trace : given->traces) sequences.push_back(TraceStreams(trace));
  return CrossEntropyBatch(std::move(sequences), loss_reduction);
}

}  // namespace grpo
