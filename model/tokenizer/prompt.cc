#include "model/tokenizer/prompt.h"

#include <algorithm>

#include "common/status_macros.h"

namespace grpo {

absl::StatusOr<std::vector<uint32_t>> EncodePrompt(const Tokenizer& tokenizer, absl::string_view text) {
  ASSIGN_OR_RETURN(std::vector<uint32_t> ids, tokenizer.Encode(text));
  if (ids.empty()) return ids;
  const std::vector<uint32_t>& front = tokenizer.PrefixTokens();
  const bool there = ids.size() >= front.size() && std::equal(front.begin(), front.end(), ids.begin());
  if (!there) ids.insert(ids.begin(), front.begin(), front.end());
  return ids;
}

}  // namespace grpo
