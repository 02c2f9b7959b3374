// The bytes of each token, as the decoder of a tokenizer.json has them.
#ifndef GRPO_MODEL_TOKENIZER_DECODER_H_
#define GRPO_MODEL_TOKENIZER_DECODER_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/vocabulary.h"

namespace grpo {

// Thread-safe.
class Decoder {
 public:
  // Of ByteLevel, Fuse or a Sequence of ByteLevel and Fuse; others are InvalidArgument by name. Of two tokens with the
  // same id, too. `vocabulary` holds the added tokens already. An added token is decoded as it is written in the file
  // (normalized, if it is); neither is needed afterwards.
  static absl::StatusOr<Decoder> FromJson(const nlohmann::json& decoder, const Vocabulary& vocabulary,
                                          const std::vector<AddedToken>& added);

  // None for an unknown id. The view is good as long as the decoder.
  absl::string_view TokenBytes(uint32_t id) const {
    if (id + size_t{1} >= begins_.size()) return {};
    return absl::string_view(bytes_).substr(begins_[id], begins_[id + 1] - begins_[id]);
  }
  // One more than the largest id; there may be ids without a token below it.
  size_t num_ids() const { return begins_.size() - 1; }

 private:
  // The bytes of all tokens in the order of their ids, and where each one's begin, with the end of the last.
  std::string bytes_;
  std::vector<uint32_t> begins_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_DECODER_H_
