// Goldens as tests read them. Links no torch.
#ifndef GRPO_TESTS_PARITY_GOLDENS_H_
#define GRPO_TESTS_PARITY_GOLDENS_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"

namespace grpo {

// tests/parity/<file>; a discarded value where it cannot be read, which has no element that a test asks for.
inline nlohmann::json ReadGoldens(const std::string& file) {
  const auto text = ReadFile(absl::StrCat("tests/parity/", file));
  return nlohmann::json::parse(text.value_or(""), nullptr, /*allow_exceptions=*/false);
}

}  // namespace grpo

#endif  // GRPO_TESTS_PARITY_GOLDENS_H_
