#include "tools/grpoctl/records/run_folder.h"

#include <filesystem>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

}  // namespace

absl::StatusOr<Endpoint> FindEndpoint(const std::string& run_dir) {
  if (!Exists(run_dir)) return absl::NotFoundError(absl::StrCat("there is no run folder ", run_dir));
  absl::StatusOr<Endpoint> endpoint = ReadEndpoint(RunEndpointPath(run_dir));
  if (!absl::IsNotFound(endpoint.status())) return endpoint;
  return absl::UnavailableError(absl::StrCat("nothing serves the run in ", run_dir,
                                             ": it has ended or is still starting; see `grpoctl logs --run-dir ",
                                             run_dir, "`"));
}

absl::StatusOr<std::string> NewestRun(const std::string& runs_folder) {
  std::error_code error;
  std::string newest;
  fs::file_time_type newest_time;
  for (fs::directory_iterator entry(runs_folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code no_lock;
    const fs::file_time_type started = fs::last_write_time(RunLock::PathIn(entry->path().string()), no_lock);
    if (no_lock || (!newest.empty() && started <= newest_time)) continue;
    newest = entry->path().string();
    newest_time = started;
  }
  if (!newest.empty()) return newest;
  return absl::NotFoundError(absl::StrCat("there is no run under ", runs_folder,
                                          "/: name one with --run-dir DIR or --address HOST:PORT, or start one with "
                                          "`grpoctl run CONFIG`"));
}

absl::StatusOr<std::unique_ptr<RunFolder>> RunFolder::Lock(const std::string& path) {
  std::error_code error;
  const std::string folder = fs::absolute(path, error).lexically_normal().string();
  if (fs::exists(folder, error) && !fs::is_empty(folder, error) && !Exists(RunLock::PathIn(folder))) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " is not empty and holds no run: choose another folder with --run-dir DIR"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<RunLock> lock, RunLock::Take(folder));
  return std::unique_ptr<RunFolder>(new RunFolder(folder, std::move(lock)));
}

bool RunFolder::HasRun() const {
  return Exists(config_path());
}

absl::Status RunFolder::Begin(const std::string& resolved_yaml) {
  for (const char* folder : {"/logs", "/endpoints"}) RETURN_IF_ERROR(MakeFolders(path_ + folder));
  return WriteFileAtomically(config_path(), resolved_yaml);
}

absl::StatusOr<std::string> RunFolder::RunId(const std::string& run_name) {
  const std::string path = path_ + "/run_id";
  std::string run_id;
  if (const absl::StatusOr<std::string> known = ReadFile(path, /*max_bytes=*/1 << 12); known.ok()) {
    run_id = std::string(absl::StripAsciiWhitespace(*known));
  } else if (absl::IsNotFound(known.status())) {
    std::random_device random;
    run_id = absl::StrFormat("%s-%08x", run_name, random());
    RETURN_IF_ERROR(WriteFileAtomically(path, run_id + "\n"));
  } else {
    return known.status();
  }
  RETURN_IF_ERROR(lock_->SetRunId(run_id));
  return run_id;
}

}  // namespace grpo
