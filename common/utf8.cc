#include "common/utf8.h"

#include <utf8proc.h>

#include <cstring>

namespace grpo {
namespace {

// The end of the ASCII text that begins at `position`, looked for eight bytes at a time.
size_t SkipAscii(absl::string_view text, size_t position) {
  for (; position + 8 <= text.size(); position += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + position, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (position < text.size() && static_cast<unsigned char>(text[position]) < 0x80) ++position;
  return position;
}

bool IsControl(uint32_t code_point) {
  return code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
}

}  // namespace

Utf8Character FirstCharacter(absl::string_view text) {
  if (text.empty()) return {};
  const unsigned char first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  utf8proc_int32_t code_point;
  // No character is longer than four bytes; a length beyond the type's range would be read as "up to the zero byte".
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const utf8proc_ssize_t num_bytes = utf8proc_iterate(bytes, text.size() < 4 ? text.size() : 4, &code_point);
  if (num_bytes <= 0) return {};
  return {static_cast<uint32_t>(code_point), static_cast<size_t>(num_bytes)};
}

size_t LastCharacterStart(absl::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return start;
}

size_t ValidPrefixBytes(absl::string_view text) {
  size_t position = SkipAscii(text, 0);
  while (position < text.size()) {
    const Utf8Character character = FirstCharacter(text.substr(position));
    if (character.num_bytes == 0) break;
    position += character.num_bytes;
    if (character.num_bytes == 1) position = SkipAscii(text, position);
  }
  return position;
}

bool IsUtf8(absl::string_view text) {
  return ValidPrefixBytes(text) == text.size();
}

bool IsPrintable(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    if (character.num_bytes == 0 || IsControl(character.code_point)) return false;
    text.remove_prefix(character.num_bytes);
  }
  return true;
}

std::string AsUtf8(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes && IsUtf8(text)) return std::string(text);
  constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";
  std::string valid;
  while (!text.empty()) {
    const size_t num_bytes = FirstCharacter(text).num_bytes;
    const absl::string_view next = num_bytes > 0 ? text.substr(0, num_bytes) : kReplacement;
    if (valid.size() + next.size() > max_bytes) break;
    valid.append(next.data(), next.size());
    text.remove_prefix(num_bytes > 0 ? num_bytes : 1);
  }
  return valid;
}

std::string EscapedForLog(absl::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string escaped;
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    const absl::string_view bytes = text.substr(0, character.num_bytes > 0 ? character.num_bytes : 1);
    text.remove_prefix(bytes.size());
    if (bytes == "\n") {
      escaped += "\n    ";
    } else if (bytes == "\t" || (character.num_bytes > 0 && !IsControl(character.code_point))) {
      escaped.append(bytes.data(), bytes.size());
    } else {
      for (const char byte : bytes) {
        escaped += "\\x";
        escaped += kDigits[static_cast<unsigned char>(byte) >> 4];
        escaped += kDigits[static_cast<unsigned char>(byte) & 15];
      }
    }
  }
  return escaped;
}

bool IsAscii(absl::string_view text) {
  return SkipAscii(text, 0) == text.size();
}

void AppendCharacter(uint32_t code_point, std::string* text) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t num_bytes = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  text->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(num_bytes));
}

}  // namespace grpo
