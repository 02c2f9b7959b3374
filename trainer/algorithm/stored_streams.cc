#include "trainer/algorithm/stored_streams.h"

#include <utility>

namespace grpo {

void AddStoredTopK(const TokenizedTrace& trace, TokenStreams* sequence) {
  const size_t width = trace.top_ids.size() / trace.completion_ids.size();
  std::vector<int64_t> ids(trace.prompt_ids.size() * width, 0);
  ids.insert(ids.end(), trace.top_ids.begin(), trace.top_ids.end());
  std::vector<float> logprobs(trace.prompt_ids.size() * width, 0);
  logprobs.insert(logprobs.end(), trace.top_logprobs.begin(), trace.top_logprobs.end());
  sequence->streams[stream::kTeacherTopIds] = Stream(std::move(ids), static_cast<int64_t>(width));
  sequence->streams[stream::kTeacherTopLogprob] = Stream(std::move(logprobs), static_cast<int64_t>(width));
}

}  // namespace grpo
