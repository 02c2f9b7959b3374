#include "rollout/endpoint/json_mend.h"

#include <cstdint>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/utf8.h"

namespace grpo {
namespace {

constexpr uint32_t kFirst = 0x10FE00;

void AppendByte(unsigned char byte, std::string* text) {
  AppendCharacter(kFirst + byte, text);
}

// The number of the escape \uXXXX at the beginning of `rest`.
std::optional<uint32_t> Escape(absl::string_view rest) {
  uint32_t value = 0;
  if (rest.size() < 6 || rest[0] != '\\' || rest[1] != 'u') return std::nullopt;
  for (const char c : rest.substr(2, 4)) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return std::nullopt;
  }
  if (!absl::SimpleHexAtoi(rest.substr(2, 4), &value)) return std::nullopt;
  return value;
}

bool IsHigh(uint32_t code) {
  return code >= 0xD800 && code < 0xDC00;
}
bool IsLow(uint32_t code) {
  return code >= 0xDC00 && code < 0xE000;
}

// Takes the escape at the beginning of `rest`, whatever it is; returns its length.
size_t TakeEscape(absl::string_view rest, MendedJson* out) {
  const std::optional<uint32_t> code = Escape(rest);
  if (!code.has_value() || !(IsHigh(*code) || IsLow(*code))) {
    // With the character behind the backslash, which may be another backslash.
    const size_t size = rest.size() > 1 && static_cast<unsigned char>(rest[1]) < 0x80 ? 2 : 1;
    absl::StrAppend(&out->text, rest.substr(0, size));
    return size;
  }
  if (IsHigh(*code)) {
    if (const std::optional<uint32_t> low = Escape(rest.substr(6)); low.has_value() && IsLow(*low)) {
      absl::StrAppend(&out->text, rest.substr(0, 12));
      return 12;
    }
  }
  // What UTF-8 would make of the half: three bytes that are none.
  std::string half;
  AppendCharacter(*code, &half);
  for (const char c : half) AppendByte(static_cast<unsigned char>(c), &out->text);
  out->mended = true;
  return 6;
}

}  // namespace

MendedJson MendJson(absl::string_view json) {
  MendedJson out;
  out.text.reserve(json.size());
  while (!json.empty()) {
    size_t taken = 1;
    if (json[0] == '\\') {
      taken = TakeEscape(json, &out);
    } else if (const size_t valid = FirstCharacter(json).num_bytes; valid > 0) {
      taken = valid;
      absl::StrAppend(&out.text, json.substr(0, taken));
    } else {
      AppendByte(static_cast<unsigned char>(json[0]), &out.text);
      out.mended = true;
    }
    json.remove_prefix(taken);
  }
  return out;
}

std::string RestoreBytes(absl::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    const size_t size = character.num_bytes > 0 ? character.num_bytes : 1;
    if (character.code_point >= kFirst && character.code_point < kFirst + 0x100) {
      bytes.push_back(static_cast<char>(character.code_point - kFirst));
    } else {
      absl::StrAppend(&bytes, text.substr(0, size));
    }
    text.remove_prefix(size);
  }
  return bytes;
}

}  // namespace grpo
