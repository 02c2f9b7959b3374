// UTF-8 one character at a time, over utf8proc.
#ifndef GRPO_COMMON_UTF8_H_
#define GRPO_COMMON_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

struct Utf8Character {
  // 0 where no character begins.
  uint32_t code_point = 0;
  // 0 where no character begins: overlong forms, surrogates and cut characters are none.
  size_t num_bytes = 0;
};

// The character that `text` begins with. Zero bytes for an empty text.
Utf8Character FirstCharacter(absl::string_view text);

// The byte at which the last character of a valid, not empty text begins.
size_t LastCharacterStart(absl::string_view text);

// The byte at which the text stops being valid UTF-8; its size when all of it is valid. A character that is cut off at
// the end is not valid.
size_t ValidPrefixBytes(absl::string_view text);

// Whether all of it is. The empty text is.
bool IsUtf8(absl::string_view text);

// Whether all of it is UTF-8 without control characters (C0, DEL, C1): a name that logs, tables and terminals show as
// it is. The empty text is.
bool IsPrintable(absl::string_view text);

// The text as UTF-8 of at most `max_bytes` bytes: U+FFFD for each byte at which no character begins, cut between
// characters. For texts of others on their way into a message, whose fields must be UTF-8.
std::string AsUtf8(absl::string_view text, size_t max_bytes);

// The text for a log: control characters but the tab, and bytes at which no character begins, as \xNN; what follows a
// line break is indented, so that no text of others looks like an entry of its own.
std::string EscapedForLog(absl::string_view text);

// Whether every byte is below 0x80; true for the empty text.
bool IsAscii(absl::string_view text);

// The UTF-8 of a code point. Nothing for a number above 0x10FFFF; a surrogate gives three bytes that are not valid
// UTF-8.
void AppendCharacter(uint32_t code_point, std::string* text);

}  // namespace grpo

#endif  // GRPO_COMMON_UTF8_H_
