#include "common/printable.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/utf8.h"

namespace grpo {
namespace {

// Code points that move the cursor, hide or reorder text.
bool IsShown(uint32_t code_point) {
  if (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) return false;
  const bool hides = code_point == 0xad || code_point == 0x61c || code_point == 0xfeff ||
                     (code_point >= 0x200b && code_point <= 0x200f) || (code_point >= 0x2028 && code_point <= 0x202e) ||
                     (code_point >= 0x2060 && code_point <= 0x206f) || (code_point >= 0xe0000 && code_point <= 0xe0fff);
  return !hides;
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    const absl::string_view bytes = text.substr(0, std::max<size_t>(character.num_bytes, 1));
    if (character.num_bytes > 0 && IsShown(character.code_point)) {
      absl::StrAppend(&shown, bytes);
    } else if (bytes == "\n") {
      shown += "\\n";
    } else if (bytes == "\t") {
      shown += "\\t";
    } else {
      for (const char c : bytes) absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(c));
    }
    text.remove_prefix(bytes.size());
  }
  return shown;
}

}  // namespace grpo
