// What came from a model, the network or a file's name, made safe to show. Pure; any thread.
#ifndef GRPO_COMMON_PRINTABLE_H_
#define GRPO_COMMON_PRINTABLE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// One line that a terminal shows as it is: control characters, invalid UTF-8 and invisible formatting (bidirectional
// overrides, zero widths) become \n, \t or \xNN. Completions are hostile text. A line break becomes \n too: the result
// is one line.
std::string Printable(absl::string_view text);

}  // namespace grpo

#endif  // GRPO_COMMON_PRINTABLE_H_
