// JSON from outside, parsed without surprises. Links no torch.
#ifndef GRPO_MODEL_STRICT_JSON_H_
#define GRPO_MODEL_STRICT_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// A JSON object. InvalidArgument, prefixed by `what` ("config.json"), for text that is not JSON (zero bytes at its end
// are no JSON either) or not UTF-8, a value that is not an object or nested deeper than 100 levels, and a key given
// twice at any depth (JSON allows it, and readers then disagree about which one counts). `text` is not copied into the
// message. Never throws; any thread.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text, absl::string_view what);

// The value as it stands in messages, cut to a line. ASCII, at most 80 characters and "...".
std::string ShowJson(const nlohmann::json& value);

}  // namespace grpo

#endif  // GRPO_MODEL_STRICT_JSON_H_
