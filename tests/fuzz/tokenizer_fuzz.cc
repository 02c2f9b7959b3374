// libFuzzer target of the tokenizer (tools/fuzz tokenizer). The input is a tokenizer.json and a text with a byte 0xfe
// between them. Whatever they are: a tokenizer or a named error; ids that the vocabulary has, or a named error; and the
// same text from the stream decoder as from Decode.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/stream_decoder.h"
#include "model/tokenizer/tokenizer.h"

namespace {

void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void CheckError(const absl::Status& status) {
  Check(absl::IsInvalidArgument(status) && !status.message().empty(), "an error without a name");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\xfe');
  const absl::string_view text = cut == absl::string_view::npos ? "a word" : input.substr(cut + 1);
  const auto tokenizer = grpo::Tokenizer::FromJson(input.substr(0, cut));
  if (!tokenizer.ok()) {
    CheckError(tokenizer.status());
    return 0;
  }
  const auto ids = (*tokenizer)->Encode(text);
  if (!ids.ok()) {
    CheckError(ids.status());
    return 0;
  }
  // With a warm cache.
  const auto again = (*tokenizer)->Encode(text);
  Check(again.ok() && *again == *ids, "other ids the second time");
  const auto with_special = (*tokenizer)->EncodeWithSpecialTokens(text);
  Check(with_special.ok() && with_special->size() >= ids->size(), "special tokens took some away");
  grpo::StreamDecoder decoder(tokenizer->get());
  std::string streamed;
  for (const uint32_t id : *ids) {
    Check(id < (*tokenizer)->vocab_size(), "an id beyond the vocabulary");
    absl::StrAppend(&streamed, decoder.Push(id));
  }
  Check(absl::StrCat(streamed, decoder.Finish()) == (*tokenizer)->Decode(*ids), "streamed and whole text differ");
  return 0;
}
