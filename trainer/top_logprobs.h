// The likeliest tokens that a policy gives to each token of traces: what a teacher's distribution is stored as.
#ifndef GRPO_TRAINER_TOP_LOGPROBS_H_
#define GRPO_TRAINER_TOP_LOGPROBS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/transformer.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/options.h"
#include "trainer/stage/top_k.h"

namespace grpo {

// StagePolicy::TopLogprobs (trainer/stage/models.h): of each trace the k largest of log_softmax(logits) at its
// completion's tokens, in float32, computed as the model's placement says. Traces are packed as in training
// (micro_batch_tokens), a prompt that follows itself once; logits are there for head_chunk_bytes at a time. Row by row
// a function of the weights and of the tokens before it, up to how the machine's products round (model/matmul.h).
absl::StatusOr<std::vector<TopK>> TopLogprobs(const Transformer& model, const std::vector<TokenizedTrace>& traces,
                                              int64_t k, const TrainerOptions& options);

}  // namespace grpo

#endif  // GRPO_TRAINER_TOP_LOGPROBS_H_
