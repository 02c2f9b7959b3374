// Text to token ids and back, as a Hugging Face tokenizer.json says: BPE over characters or, as GPT-2, Llama 3 and
// Qwen have it, over bytes. The ids are those of the library `tokenizers` (tests/parity/tokenizer_test.cc). Links no
// torch.
//
// Encoding goes through the parts of the file as in the library, each in a header of its own:
//
//   text --AddedTokenCutter--> between added tokens --Normalizer--> --AddedTokenCutter (normalized ones)-->
//     --PreTokenizer--> words --Bpe--> ids --PostProcessor (EncodeWithSpecialTokens only)--> ids around them
//
// Decoding is a table of bytes by id (Decoder); StreamDecoder makes text of them as they come.
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

  // Added tokens in the text are recognized; what the post-processor would put around it is not there. InvalidArgument
  // names the first character that the vocabulary cannot write, or where the text is not UTF-8, with the position; or
  // the pattern that takes too long on it. Empty for an empty text. At most 1 GiB of text.
  virtual absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const = 0;
  // The same with the post-processor's tokens around it, such as Llama 3's <|begin_of_text|>.
  virtual absl::StatusOr<std::vector<uint32_t>> EncodeWithSpecialTokens(absl::string_view text) const = 0;
  // The tokens that it puts in front. Valid as long as the tokenizer.
  virtual const std::vector<uint32_t>& PrefixTokens() const = 0;

  // The bytes that the ids stand for, special tokens included; unknown ids are written as nothing. May be invalid
  // UTF-8; StreamDecoder gives whole characters.
  std::string Decode(const std::vector<uint32_t>& ids) const;
  // The bytes of one token, none for an unknown id. Valid as long as the tokenizer.
  virtual absl::string_view TokenBytes(uint32_t id) const = 0;

  // Id of a token by its exact text in the file (byte-level vocabularies write a space as U+0120); NotFound.
  virtual absl::StatusOr<uint32_t> TokenId(absl::string_view token) const = 0;
  // One more than the largest id. Ids without a token below it decode to nothing.
  virtual int64_t vocab_size() const = 0;

  // What the file asks for and is not done, a phrase each. For one line of the log.
  virtual const std::vector<std::string>& ignored() const = 0;
};

// InvalidArgument when the tokenizer has ids that an embedding of so many rows has not: they would be read beyond it.
// The other way round is common, embeddings are padded to a round number.
absl::Status CheckVocabularyFits(const Tokenizer& tokenizer, int64_t embedding_rows);

// SHA-256 (hex) of vocab_size and of what every id stands for: two tokenizers with the same one give an id the same
// bytes, whatever else their files say. Pure.
std::string VocabularyDigest(const Tokenizer& tokenizer);

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_TOKENIZER_H_
