// Token ids to text while they are sampled, without printing half a character.
#ifndef GRPO_MODEL_TOKENIZER_STREAM_DECODER_H_
#define GRPO_MODEL_TOKENIZER_STREAM_DECODER_H_

#include <cstdint>
#include <string>

#include "model/tokenizer/tokenizer.h"

namespace grpo {

// What the calls return, put together, is Tokenizer::Decode of the ids. One thread.
class StreamDecoder {
 public:
  // The tokenizer must outlive the decoder.
  explicit StreamDecoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  // What can be printed now that `id` has come. The beginning of a character is held back until the rest comes; bytes
  // that no character can begin with are passed on as they are. At most three bytes are held back.
  std::string Push(uint32_t id);
  // What was held back: nothing, or a character that the ids left unfinished.
  std::string Finish() { return std::exchange(held_, ""); }

 private:
  const Tokenizer* const tokenizer_;
  // The beginning of a character, at most three bytes.
  std::string held_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_STREAM_DECODER_H_
