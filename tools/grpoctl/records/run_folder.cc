#include "tools/grpoctl/records/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr char kLockName[] = "lock";

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
    const fs::file_time_type started = fs::last_write_time(entry->path() / kLockName, no_lock);
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
  const std::string lock_path = absl::StrCat(folder, "/", kLockName);
  if (fs::exists(folder, error) && !fs::is_empty(folder, error) && !Exists(lock_path)) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " is not empty and holds no run: choose another folder with --run-dir DIR"));
  }
  RETURN_IF_ERROR(MakeFolders(folder));
  const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", lock_path);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    const std::string holder = ReadFile(lock_path, /*max_bytes=*/64).value_or("unknown");
    return absl::AlreadyExistsError(absl::StrCat(
        "a run is going on in ", path, " (grpoctl has pid ", absl::StripAsciiWhitespace(holder),
        "): watch it with `grpoctl watch --run-dir ", path, "`, or choose another folder with --run-dir DIR"));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    const int write_error = errno;
    ::close(fd);
    return ErrnoStatus(write_error, "write", lock_path);
  }
  return std::unique_ptr<RunFolder>(new RunFolder(folder, fd));
}

RunFolder::~RunFolder() {
  ::close(lock_fd_);
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
  const absl::StatusOr<std::string> known = ReadFile(path, /*max_bytes=*/1 << 12);
  if (known.ok()) return std::string(absl::StripAsciiWhitespace(*known));
  if (!absl::IsNotFound(known.status())) return known.status();
  std::random_device random;
  const std::string run_id = absl::StrFormat("%s-%08x", run_name, random());
  RETURN_IF_ERROR(WriteFileAtomically(path, run_id + "\n"));
  return run_id;
}

}  // namespace grpo
