// The tokens of a tokenizer.json by text and by id.
#ifndef GRPO_MODEL_TOKENIZER_VOCABULARY_H_
#define GRPO_MODEL_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// model.vocab, in the file's spelling. Thread-safe once made.
class Vocabulary {
 public:
  // InvalidArgument for what is not an object of ids up to kMaxTokenId, or is empty. Two tokens may have the same id
  // here; Decoder refuses them.
  static absl::StatusOr<Vocabulary> FromJson(const nlohmann::json& vocab);

  // The id of a token by its exact text.
  std::optional<uint32_t> Find(absl::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional<uint32_t>(found->second);
  }
  const absl::flat_hash_map<std::string, uint32_t>& ids() const { return ids_; }

  // Adds a token that is not there yet.
  void Add(const std::string& token, uint32_t id) { ids_.emplace(token, id); }

 private:
  absl::flat_hash_map<std::string, uint32_t> ids_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_VOCABULARY_H_
