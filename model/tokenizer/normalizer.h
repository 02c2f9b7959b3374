// The normalizer of a tokenizer.json: Unicode's normalization forms, by utf8proc.
#ifndef GRPO_MODEL_TOKENIZER_NORMALIZER_H_
#define GRPO_MODEL_TOKENIZER_NORMALIZER_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// Thread-safe.
class Normalizer {
 public:
  // null, NFC, NFD, NFKC, NFKD or a Sequence of them; others are InvalidArgument by name.
  static absl::StatusOr<Normalizer> FromJson(const nlohmann::json& normalizer);

  // Then Normalize returns its argument.
  bool does_nothing() const { return forms_.empty(); }

  // `text` is valid UTF-8. Takes n log n for a text of n characters, also if all of them are combining marks. By the
  // Unicode version of utf8proc.
  std::string Normalize(absl::string_view text) const;

 private:
  // NFKx rather than NFx; xFC rather than xFD.
  struct Form {
    bool compatibility, compose;
  };
  static std::string Apply(const Form& form, absl::string_view text);

  // Applied one after the other.
  std::vector<Form> forms_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_NORMALIZER_H_
