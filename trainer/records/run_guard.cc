#include "trainer/records/run_guard.h"

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// What a trainer would write over if it began here. Empty where there is nothing.
std::string RecordIn(const std::string& run_dir) {
  for (const char* record : {"checkpoints", "metrics.jsonl", "completions.sqlite", "summary.json", "data.json",
                             "spending.json", "quarantine.jsonl"}) {
    std::error_code error;
    if (std::filesystem::exists(absl::StrCat(run_dir, "/", record), error)) return record;
  }
  return "";
}

absl::Status WriteIfMissing(const std::string& path, const std::string& content) {
  std::error_code error;
  return std::filesystem::exists(path, error) ? absl::OkStatus() : WriteFileAtomically(path, content);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunGuard>> RunGuard::Enter(Entry entry) {
  const std::string& run_dir = entry.run_dir;
  ASSIGN_OR_RETURN(std::unique_ptr<RunLock> lock, entry.lock_fd >= 0
                                                      ? RunLock::Inherit(run_dir, entry.lock_fd, entry.run_id)
                                                      : RunLock::Take(run_dir, entry.run_id));
  if (const std::string record = RecordIn(run_dir); !entry.resume && !record.empty()) {
    return absl::AlreadyExistsError(absl::StrCat(run_dir, " holds a run already (", record,
                                                 " is there): go on with it with --resume, choose another folder with "
                                                 "--run-dir DIR, or delete it to start afresh"));
  }
  return std::unique_ptr<RunGuard>(new RunGuard(std::move(entry), std::move(lock)));
}

absl::Status RunGuard::Check() {
  RETURN_IF_ERROR(lock_->Check());
  const int64_t begun_anew = lock_->times_begun_anew();
  if (begun_anew == made_whole_) return absl::OkStatus();
  const absl::Status status = MakeWhole();
  if (status.ok()) made_whole_ = begun_anew;
  Alarm(absl::StrCat(entry_.run_dir,
                     " or the lock in it was deleted or moved away while the run was going on; it is begun anew, and "
                     "what was deleted, logs included, is lost"));
  return status;
}

absl::Status RunGuard::MakeWhole() const {
  for (const char* folder : {"/logs", "/endpoints"}) RETURN_IF_ERROR(MakeFolders(entry_.run_dir + folder));
  RETURN_IF_ERROR(WriteIfMissing(entry_.run_dir + "/config.yaml", entry_.resolved_yaml));
  RETURN_IF_ERROR(WriteIfMissing(entry_.run_dir + "/run_id", entry_.run_id + "\n"));
  return on_begun_anew_ ? on_begun_anew_() : absl::OkStatus();
}

void RunGuard::Alarm(const std::string& what) {
  RaiseAlarm(nullptr, what);
  if (!absl::StrContains(alarms_, what)) absl::StrAppend(&alarms_, alarms_.empty() ? "" : "; ", what);
  if (on_alarm_) on_alarm_(alarms_);
}

absl::Status MayWrite(RunGuard* guard) {
  return guard == nullptr ? absl::OkStatus() : guard->Check();
}

void RaiseAlarm(RunGuard* guard, const std::string& what) {
  if (guard != nullptr) return guard->Alarm(what);
  spdlog::error("RECORDS ARE LOST: {}", what);
}

}  // namespace grpo
