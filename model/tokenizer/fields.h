// Reading tokenizer.json: each field is honoured, or refused with its place and value.
#ifndef GRPO_MODEL_TOKENIZER_FIELDS_H_
#define GRPO_MODEL_TOKENIZER_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// Four times the largest vocabulary seen; bounds the table that Decode reads to 4 MB.
inline constexpr uint64_t kMaxTokenId = (1 << 20) - 1;

// InvalidArgument "tokenizer.json: <what>".
absl::Status Unusable(absl::string_view what);
// "tokenizer.json: <place> is <value>, expected <expected>"
absl::Status Unexpected(absl::string_view place, const nlohmann::json& value, absl::string_view expected);

// null when there is none. Also when `object` is none. Lives as long as the object.
const nlohmann::json& Field(const nlohmann::json& object, const char* key);

// Refuses what is not an object or has a key that is not among `keys`: what it asks for would not be done.
// InvalidArgument.
absl::Status ExpectKeys(const nlohmann::json& object, absl::string_view place, std::initializer_list<const char*> keys);

// Refuses a value that changes what the tokenizer does; absent and null always pass. `place` is the object's.
absl::Status ExpectNeutral(const nlohmann::json& object, absl::string_view place, const char* key,
                           const nlohmann::json& neutral);

// `absent` when there is none. InvalidArgument for another type.
absl::StatusOr<bool> BoolField(const nlohmann::json& object, absl::string_view place, const char* key, bool absent);

// An id of `token`, up to kMaxTokenId. InvalidArgument for anything else; `token` is for the message.
absl::StatusOr<uint32_t> ParseTokenId(const nlohmann::json& value, absl::string_view token);

// The list that a component of type "Sequence" holds under `key`; a component of another type is a list of itself, and
// null is an empty one. `type` of each is text; a Sequence in a Sequence is refused, nobody writes it.
absl::StatusOr<std::vector<nlohmann::json>> Components(const nlohmann::json& component, absl::string_view place,
                                                       const char* key);

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_FIELDS_H_
