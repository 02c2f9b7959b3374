#include "model/weights/companions.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "model/strict_json.h"

namespace grpo {
const std::vector<std::string>& CompanionNames() {
  static const auto* const kNames =
      new std::vector<std::string>{"added_tokens.json", "chat_template.jinja", "generation_config.json",
                                   "special_tokens_map.json", "tokenizer_config.json"};
  return *kNames;
}

bool IsCompanionName(absl::string_view name) {
  return std::find(CompanionNames().begin(), CompanionNames().end(), name) != CompanionNames().end();
}

absl::Status CheckCompanion(absl::string_view name, absl::string_view content) {
  if (!IsCompanionName(name)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is not a file that travels with a model"));
  }
  if (static_cast<int64_t>(content.size()) > kMaxCompanionBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has ", content.size(), " bytes, allowed are ", kMaxCompanionBytes));
  }
  if (absl::EndsWith(name, ".json")) return ParseJsonObject(content, name).status();
  if (ValidPrefixBytes(content) < content.size())
    return absl::InvalidArgumentError(absl::StrCat(name, " is not UTF-8"));
  return absl::OkStatus();
}

absl::StatusOr<Companions> ReadCompanions(const std::string& folder) {
  Companions companions;
  for (const std::string& name : CompanionNames()) {
    absl::StatusOr<std::string> content = ReadFile((std::filesystem::path(folder) / name).string(), kMaxCompanionBytes);
    if (absl::IsNotFound(content.status())) continue;
    RETURN_IF_ERROR(content.status());
    RETURN_IF_ERROR(Annotate(CheckCompanion(name, *content), folder));
    companions.emplace(name, *std::move(content));
  }
  return companions;
}

}  // namespace grpo
