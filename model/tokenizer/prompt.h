// The token ids of a prompt.
#ifndef GRPO_MODEL_TOKENIZER_PROMPT_H_
#define GRPO_MODEL_TOKENIZER_PROMPT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"

namespace grpo {

// The text's tokens behind those that the tokenizer's post-processor puts in front of every text (Llama 3's
// <|begin_of_text|>), unless the text begins with them already, as rendered chat templates do. What the post-processor
// would put behind is left out: the completion follows there. Errors of Tokenizer::Encode. Empty for an empty text:
// nothing is put in front of that. Any thread.
absl::StatusOr<std::vector<uint32_t>> EncodePrompt(const Tokenizer& tokenizer, absl::string_view text);

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_PROMPT_H_
