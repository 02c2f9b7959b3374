// Text to token ids and back, as a Hugging Face tokenizer.json says. Links no torch.
#ifndef GRPO_MODEL_TOKENIZER_TOKENIZER_H_
#define GRPO_MODEL_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// Thread-safe once made.
class Tokenizer {
 public:
  // InvalidArgument names the part of tokenizer.json that is wrong or not supported.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(absl::string_view tokenizer_json);
  virtual ~Tokenizer() = default;

  // InvalidArgument names the first character that the vocabulary cannot write, with its position.
  virtual absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const = 0;
  // The bytes that the ids stand for, special tokens included; unknown ids are written as nothing. May be invalid
  // UTF-8.
  virtual std::string Decode(const std::vector<uint32_t>& ids) const = 0;

  // Id of a token by its exact text; NotFound.
  virtual absl::StatusOr<uint32_t> TokenId(absl::string_view token) const = 0;
  // One more than the largest id.
  virtual int64_t vocab_size() const = 0;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_TOKENIZER_H_
