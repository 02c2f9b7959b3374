#include "model/tokenizer/vocabulary.h"

#include "common/status_macros.h"
#include "model/tokenizer/fields.h"

namespace grpo {

absl::StatusOr<Vocabulary> Vocabulary::FromJson(const nlohmann::json& vocab) {
  if (!vocab.is_object() || vocab.empty()) return Unusable("model.vocab is missing, empty or not an object");
  Vocabulary vocabulary;
  vocabulary.ids_.reserve(vocab.size());
  for (const auto& [token, value] : vocab.items()) {
    ASSIGN_OR_RETURN(const uint32_t id, ParseTokenId(value, token));
    vocabulary.ids_.emplace(token, id);
  }
  return vocabulary;
}

}  // namespace grpo
