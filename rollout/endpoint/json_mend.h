// JSON whose texts were cut in the middle of a character. Pure; any thread. Links no torch.
#ifndef GRPO_ROLLOUT_ENDPOINT_JSON_MEND_H_
#define GRPO_ROLLOUT_ENDPOINT_JSON_MEND_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// A model's text ends where its tokens end, and servers write what they have: bytes that are no UTF-8, or one half of a
// surrogate pair as an escape. Neither is JSON, and the rest of the answer is good and paid for. So each such byte
// becomes a private-use character (U+10FE00 + byte) that JSON can hold, and is turned back once the JSON is read.
struct MendedJson {
  std::string text;
  // Whether anything was replaced; only then may Restore be called on what is read from `text`.
  bool mended = false;
};
MendedJson MendJson(absl::string_view json);

// The bytes in place of their characters.
std::string RestoreBytes(absl::string_view text);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_JSON_MEND_H_
