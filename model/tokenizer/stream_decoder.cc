#include "model/tokenizer/stream_decoder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"

namespace grpo {
namespace {

// Whether some continuation makes this a character; `text` is none itself and shorter than four bytes.
bool BeginsCharacter(absl::string_view text) {
  // The smallest and the largest continuation: between them lies one for every beginning that has any.
  for (const absl::string_view rest : {"\x80\x80\x80", "\xBF\xBF\xBF"}) {
    const std::string whole = absl::StrCat(text, rest);
    if (FirstCharacter(whole).num_bytes > text.size()) return true;
  }
  return false;
}

}  // namespace

std::string StreamDecoder::Push(uint32_t id) {
  absl::StrAppend(&held_, tokenizer_->TokenBytes(id));
  size_t ready = held_.size();
  for (size_t num_bytes = 1; num_bytes <= std::min<size_t>(3, held_.size()); ++num_bytes) {
    const absl::string_view tail = absl::string_view(held_).substr(held_.size() - num_bytes);
    if (FirstCharacter(tail).num_bytes == 0 && BeginsCharacter(tail)) ready = held_.size() - num_bytes;
  }
  std::string text = held_.substr(0, ready);
  held_.erase(0, ready);
  return text;
}

}  // namespace grpo
