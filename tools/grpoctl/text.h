// Text for people: tables, numbers, and whatever came from a model or the network made safe to print. Pure; any thread.
#ifndef GRPO_TOOLS_GRPOCTL_TEXT_H_
#define GRPO_TOOLS_GRPOCTL_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/count_text.h"

namespace grpo {

// One line that a terminal shows as it is: control characters, invalid UTF-8 and invisible formatting (bidirectional
// overrides, zero widths) become \n, \t or \xNN. Completions are hostile text. A line break becomes \n too: the result
// is one line.
std::string Printable(absl::string_view text);

// Columns as wide as their widest cell, two blanks apart; the first row is the heading. Cells of all rows but the first
// are aligned right where they start with a digit or a sign, except in the first column. Rows may be short. Ends in a
// newline. Widths are counted in bytes.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

// "0:07", "12:34", "1:02:03"; hours are not wrapped. A negative duration, and NaN, is "0:00".
std::string FormatClock(double seconds);
// "164.5 KiB": the largest unit that leaves at least 1. Units of 1024.
std::string FormatBytes(double bytes);
// Four significant digits, without an exponent where that is readable: "0.9371", "30.4", "1e-06". From 1,000 on a whole
// number with commas.
std::string FormatNumber(double value);

// Cuts after `width` bytes, never inside a UTF-8 sequence. `width` below 0 counts as 0.
std::string Truncated(const std::string& text, int width);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_TEXT_H_
