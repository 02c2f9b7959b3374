// What `grpoctl model tokenize|logprobs|generate` make of JSON lines (tools/grpoctl/json_lines.h says how lines and
// errors go).
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_MODEL_LINES_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_MODEL_LINES_H_

#include <cstdint>
#include <istream>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"

namespace grpo {

// All return the number of lines with an error.

// {"text"} to {"ids","decoded"}: ids with the tokens that the post-processor puts around a text; decoded without them,
// so that it is the text where the tokenizer loses nothing.
int64_t TokenizeLines(std::istream& in, std::ostream& out, const Tokenizer& tokenizer);

// {"ids":[T]} to {"logprobs":[T - 1]}: natural logarithm of the probability of each token after the first. Empty for
// fewer than two ids. Each line is a forward pass of its own.
int64_t LogprobLines(std::istream& in, std::ostream& out, const Transformer& model);

// The ranges are those of `grpoctl model generate --help`.
struct GenerateOptions {
  int64_t max_new_tokens = 128;
  // 0 takes the most likely token.
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;
  double min_p = 0;
  std::vector<std::string> stop;
  // A line draws from GroupSeed(seed, "generate", its number).
  uint64_t seed = 0;
  // Completions a line.
  int64_t num_completions = 1;
  // Completions that are decoded at the same time.
  int64_t slots = 16;
};

// {"prompt"} or {"ids"} to {"completions":[{"text","ids","logprobs","finish_reason"}]}. All lines are read before the
// first is answered, so that they are decoded together. What a line gets depends on seed and line number, not on the
// other lines. A prompt that does not fit the model's context is an error of its line; weights that give no finite
// logit are one of every line. Another number of slots may change last bits.
int64_t GenerateLines(std::istream& in, std::ostream& out, std::shared_ptr<const Transformer> model,
                      const Tokenizer& tokenizer, const GenerateOptions& options);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_MODEL_LINES_H_
