// Names of workers and reward servers: they stand in logs, in the status and in worker ids.
#ifndef GRPO_COORDINATOR_NAMES_H_
#define GRPO_COORDINATOR_NAMES_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/utf8.h"

namespace grpo {

inline constexpr size_t kMaxNameBytes = 256;

// InvalidArgument that begins with `what`, the field, and ends with `advice`, unless the name has 1 to kMaxNameBytes
// bytes and is printable. Pure.
inline absl::Status CheckName(absl::string_view what, const std::string& name, absl::string_view advice) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has ", name.size(), " bytes, allowed are 1 to ", kMaxNameBytes, ": ", advice));
  }
  if (IsPrintable(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " is \"", absl::Utf8SafeCHexEscape(name), "\", which holds control characters: ", advice));
}

}  // namespace grpo

#endif  // GRPO_COORDINATOR_NAMES_H_
