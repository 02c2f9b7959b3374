// The families of families.inc, and config.json by way of them. Links no torch.
#ifndef GRPO_MODEL_FAMILIES_H_
#define GRPO_MODEL_FAMILIES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/config.h"

namespace grpo {

// In the list's order. Any thread.
std::vector<std::string> ModelFamilyNames();

// InvalidArgument for JSON that is not an object, a family that is not in families.inc, a field that asks for what is
// not supported (named, with its value), and a field that is not known: it might change the forward pass. Reads what
// transformers 4 and 5 write. A completion ends at the end tokens of config.json and at those of
// `generation_config_json` (empty: there is none), where chat models often name more. `ignored` gets what the files ask
// for and is not done, a phrase each ("attention_dropout 0.1: dropout is not applied"). The result passes Validate.
// Nothing is appended to `ignored` after an error.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json,
                                             absl::string_view generation_config_json = "",
                                             std::vector<std::string>* ignored = nullptr);
// What transformers loads; of a configuration that passes Validate, of a family that there is. ParseModelConfig reads
// it back to the same configuration. Empty for a family that there is not.
std::string ModelConfigJson(const ModelConfig& config);

}  // namespace grpo

#endif  // GRPO_MODEL_FAMILIES_H_
