// The files of a model's folder that this project does not read, and that users of the trained result need: how prompts
// are laid out, which tokens are special, how transformers generates. They travel with the weights, unchanged. Links no
// torch.
#ifndef GRPO_MODEL_WEIGHTS_COMPANIONS_H_
#define GRPO_MODEL_WEIGHTS_COMPANIONS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// File name -> content. In the order of the names, which is the manifest's.
using Companions = std::map<std::string, std::string>;

// Of one file.
inline constexpr int64_t kMaxCompanionBytes = int64_t{4} << 20;

// The names that there are. A name from outside is looked up here before a file is read or written. Sorted. Lives for
// ever.
const std::vector<std::string>& CompanionNames();
// Whether it is one of CompanionNames. Pure.
bool IsCompanionName(absl::string_view name);

// InvalidArgument for another name, more than kMaxCompanionBytes, what is not UTF-8, and a .json that is not an object.
// Pure.
absl::Status CheckCompanion(absl::string_view name, absl::string_view content);

// Those of them that the folder holds. Errors of ReadFile but NotFound, and of CheckCompanion; each names the file. A
// folder without any gives an empty map.
absl::StatusOr<Companions> ReadCompanions(const std::string& folder);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_COMPANIONS_H_
