#include "trainer/records/quarantine_log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::ordered_json;

}  // namespace

absl::StatusOr<std::unique_ptr<QuarantineLog>> QuarantineLog::Open(const std::string& path, bool resume,
                                                                   RunGuard* guard) {
  std::unique_ptr<QuarantineLog> log(new QuarantineLog(path, guard));
  if (!resume) return log;
  absl::StatusOr<std::string> before = ReadFile(path);
  if (absl::IsNotFound(before.status())) return log;
  RETURN_IF_ERROR(before.status());
  for (const absl::string_view line : absl::StrSplit(*before, '\n', absl::SkipEmpty())) {
    const auto entry = ordered_json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("stage") || !entry["stage"].is_string() ||
        !entry.contains("group_index") || !entry["group_index"].is_number_integer()) {
      return absl::DataLossError(absl::StrCat(
          path, " line ", log->entries_.size() + 1,
          " names no stage and group_index: remove that line; a group that is missing here is tried again"));
    }
    log->entries_.push_back({entry["stage"].get<std::string>(), entry["group_index"].get<int64_t>()});
  }
  log->lines_ = *std::move(before);
  return log;
}

absl::Status QuarantineLog::Append(const std::vector<QuarantinedGroup>& groups) {
  for (const QuarantinedGroup& group : groups) {
    const v1::LeaseKey& key = group.lease.key();
    const v1::Prompt& prompt = group.lease.prompt();
    const ordered_json entry = {{"stage", key.stage()},      {"group_index", key.group_index()},
                                {"id", prompt.id()},         {"prompt", prompt.text()},
                                {"answer", prompt.answer()}, {"workers", group.dead_workers}};
    // What is not UTF-8 becomes U+FFFD.
    absl::StrAppend(&lines_, entry.dump(-1, ' ', false, ordered_json::error_handler_t::replace), "\n");
    entries_.push_back({key.stage(), key.group_index()});
  }
  RETURN_IF_ERROR(MayWrite(guard_));
  return WriteFileAtomically(path_, lines_);
}

}  // namespace grpo
