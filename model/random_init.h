// The shape of a policy with random weights. Links no torch.
#ifndef GRPO_MODEL_RANDOM_INIT_H_
#define GRPO_MODEL_RANDOM_INIT_H_

#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/options.h"
#include "model/tokenizer/tokenizer.h"

namespace grpo {

// `tokenizer` is that of options.tokenizer: it sizes the embedding and knows the end-of-sequence token. InvalidArgument
// for an eos_token that it lacks, and for sizes that do not fit. Pure; any thread. The result passes Validate.
absl::StatusOr<ModelConfig> RandomInitConfig(const PolicyOptions::RandomInit& options, const Tokenizer& tokenizer);

}  // namespace grpo

#endif  // GRPO_MODEL_RANDOM_INIT_H_
