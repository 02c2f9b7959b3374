// GPT-2's alphabet: a printable character for each of the 256 bytes, in which byte-level vocabularies are written.
#ifndef GRPO_MODEL_TOKENIZER_BYTE_ALPHABET_H_
#define GRPO_MODEL_TOKENIZER_BYTE_ALPHABET_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// The bytes that a text in the alphabet stands for; nullopt when one of its characters is not of the alphabet. Invalid
// UTF-8 is not of the alphabet either.
std::optional<std::string> BytesOfAlphabet(absl::string_view text);

// The inverse: two bytes of UTF-8 at most for each byte. Pure.
std::string AlphabetOfBytes(absl::string_view bytes);

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_BYTE_ALPHABET_H_
