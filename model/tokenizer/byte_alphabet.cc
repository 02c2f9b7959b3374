#include "model/tokenizer/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "common/utf8.h"

namespace grpo {
namespace {

struct Alphabet {
  std::array<uint32_t, 256> character_of_byte;
  // By code point; -1 for characters that stand for no byte.
  std::array<int, 512> byte_of_character;
};

// Latin-1's printable characters stand for themselves, the other bytes for the characters from U+0100 on, in order.
const Alphabet& TheAlphabet() {
  static const Alphabet alphabet = [] {
    Alphabet made;
    made.byte_of_character.fill(-1);
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      made.character_of_byte[byte] = printable ? byte : next++;
      made.byte_of_character[made.character_of_byte[byte]] = static_cast<int>(byte);
    }
    return made;
  }();
  return alphabet;
}

}  // namespace

std::optional<std::string> BytesOfAlphabet(absl::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    if (character.num_bytes == 0 || character.code_point >= TheAlphabet().byte_of_character.size()) return std::nullopt;
    const int byte = TheAlphabet().byte_of_character[character.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    text.remove_prefix(character.num_bytes);
  }
  return bytes;
}

std::string AlphabetOfBytes(absl::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    AppendCharacter(TheAlphabet().character_of_byte[static_cast<unsigned char>(byte)], &text);
  }
  return text;
}

}  // namespace grpo
