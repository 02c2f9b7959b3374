#include "tools/grpoctl/text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace grpo {
namespace {

struct Decoded {
  uint32_t code_point = 0;
  // Bytes of the sequence; 0 when it is not valid UTF-8.
  size_t length = 0;
};

Decoded DecodeUtf8(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xf0 && lead < 0xf5   ? 4
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                                                      : 0;
  if (length == 0 || text.size() < length) return {};
  uint32_t code_point = lead & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code_point = code_point << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xd800 && code_point < 0xe000;
  if (code_point < kSmallest[length] || code_point > 0x10ffff || surrogate) return {};
  return {code_point, length};
}

// Code points that move the cursor, hide or reorder text.
bool IsShown(uint32_t code_point) {
  if (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) return false;
  const bool hides = code_point == 0xad || code_point == 0x61c || code_point == 0xfeff ||
                     (code_point >= 0x200b && code_point <= 0x200f) || (code_point >= 0x2028 && code_point <= 0x202e) ||
                     (code_point >= 0x2060 && code_point <= 0x206f) || (code_point >= 0xe0000 && code_point <= 0xe0fff);
  return !hides;
}

bool LooksNumeric(const std::string& cell) {
  return !cell.empty() && (absl::ascii_isdigit(cell[0]) || cell[0] == '-' || cell[0] == '+');
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const Decoded decoded = DecodeUtf8(text);
    const size_t length = std::max<size_t>(decoded.length, 1);
    const absl::string_view bytes = text.substr(0, length);
    if (decoded.length > 0 && IsShown(decoded.code_point)) {
      absl::StrAppend(&shown, bytes);
    } else if (bytes == "\n") {
      shown += "\\n";
    } else if (bytes == "\t") {
      shown += "\\t";
    } else {
      for (const char c : bytes) absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(c));
    }
    text.remove_prefix(length);
  }
  return shown;
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (size_t i = 0; i < rows[r].size(); ++i) {
      const std::string& cell = rows[r][i];
      const std::string padding(widths[i] - cell.size(), ' ');
      const bool right = r > 0 && i > 0 && LooksNumeric(cell);
      absl::StrAppend(&line, i > 0 ? "  " : "", right ? padding + cell : cell + padding);
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string FormatClock(double duration_s) {
  // NaN and negative values are a peer's mistake and not worth an error here.
  const int64_t seconds = duration_s > 0 ? static_cast<int64_t>(std::min(duration_s, 1e12)) : 0;
  if (seconds < 3600) return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string FormatBytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return unit == 0 ? absl::StrFormat("%.0f B", bytes) : absl::StrFormat("%.1f %s", bytes, kUnits[unit]);
}

std::string FormatNumber(double value) {
  if (std::abs(value) >= 1000 && std::abs(value) < 1e15) return FormatCount(std::llround(value));
  return absl::StrFormat("%.4g", value);
}

std::string Truncated(const std::string& text, int width) {
  if (static_cast<int>(text.size()) <= width) return text;
  size_t end = static_cast<size_t>(std::max(width, 0));
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace grpo
