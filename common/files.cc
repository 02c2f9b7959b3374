#include "common/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "common/utf8.h"

namespace grpo {
namespace {

// All others are Internal.
constexpr std::pair<int, absl::StatusCode> kCodes[] = {
    {ENOENT, absl::StatusCode::kNotFound},
    {ENOSPC, absl::StatusCode::kResourceExhausted},
    {EDQUOT, absl::StatusCode::kResourceExhausted},
    {EFBIG, absl::StatusCode::kResourceExhausted},
    {EACCES, absl::StatusCode::kPermissionDenied},
    {EPERM, absl::StatusCode::kPermissionDenied},
    {EROFS, absl::StatusCode::kPermissionDenied},
    {EEXIST, absl::StatusCode::kAlreadyExists},
    {ENOTDIR, absl::StatusCode::kAlreadyExists},
    {ENOTEMPTY, absl::StatusCode::kAlreadyExists},
    {EISDIR, absl::StatusCode::kAlreadyExists},
    {ELOOP, absl::StatusCode::kAlreadyExists},
    {ENAMETOOLONG, absl::StatusCode::kAlreadyExists},
};

// Makes a system call that returns -1 and errno on failure, or what a test puts in its place.
template <typename Call>
auto Try(absl::string_view failpoint, const std::string& path, Call call) -> decltype(call()) {
  const int error_number = FailpointErrno(failpoint, path);
  if (error_number == 0) return call();
  errno = error_number;
  return -1;
}

absl::Status WriteAll(int fd, absl::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = Try("files.write", path, [&] { return ::write(fd, content.data(), content.size()); });
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "write", path);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// InvalidArgument for what cannot be read to its end.
absl::Status CheckIsFile(const struct stat& info, const std::string& path) {
  const absl::string_view what = S_ISFIFO(info.st_mode)                           ? "a pipe"
                                 : S_ISSOCK(info.st_mode)                         ? "a socket"
                                 : S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode) ? "a device"
                                                                                  : "";
  if (what.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, " is ", what, ", not a file: write its content into one"));
}

absl::Status TooLong(const std::string& path, int64_t max_bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, " is longer than ", max_bytes, " bytes, the most that is read here"));
}

}  // namespace

absl::Status CheckUtf8Path(absl::string_view what, const std::string& path) {
  std::error_code error;
  const std::string whole = std::filesystem::absolute(path, error).string();
  if (IsUtf8(path) && IsUtf8(whole)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " ", absl::CHexEscape(error ? path : whole),
                                                 " is not UTF-8, and the run's files and messages name it: choose "
                                                 "another"));
}

absl::Status ErrnoStatus(int error_number, absl::string_view what, absl::string_view path) {
  absl::StatusCode code = absl::StatusCode::kInternal;
  for (const auto& [number, its_code] : kCodes) {
    if (number == error_number) code = its_code;
  }
  return absl::Status(code, absl::StrCat(what, " ", path, ": ", std::strerror(error_number)));
}

PlaceOfFile WhereIs(int fd, const std::string& path) {
  struct stat opened, there;
  if (::stat(path.c_str(), &there) != 0)
    return errno == ENOENT || errno == ENOTDIR ? PlaceOfFile::kGone : PlaceOfFile::kSame;
  if (::fstat(fd, &opened) != 0) return PlaceOfFile::kSame;
  const bool same = opened.st_dev == there.st_dev && opened.st_ino == there.st_ino;
  return same ? PlaceOfFile::kSame : PlaceOfFile::kAnother;
}

absl::Status ExpectFile(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is a folder, not a file"));
  return CheckIsFile(info, path);
}

absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes) {
  // Not to wait for the writer of a pipe.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  struct stat info = {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
  RETURN_IF_ERROR(CheckIsFile(info, path));
  if (S_ISREG(info.st_mode) && info.st_size > max_bytes) return TooLong(path, max_bytes);
  std::string content;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(fd, buffer, sizeof(buffer));
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "read", path);
    }
    if (got == 0) return content;
    if (static_cast<int64_t>(content.size()) + got > max_bytes) return TooLong(path, max_bytes);
    content.append(buffer, static_cast<size_t>(got));
  }
}

absl::StatusOr<SyncedFileWriter> SyncedFileWriter::Create(const std::string& path) {
  const int fd =
      Try("files.open", path, [&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644); });
  if (fd < 0) return ErrnoStatus(errno, "create", path);
  return SyncedFileWriter(path, fd);
}

SyncedFileWriter::SyncedFileWriter(SyncedFileWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

SyncedFileWriter::~SyncedFileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status SyncedFileWriter::Append(absl::string_view content) {
  return WriteAll(fd_, content, path_);
}

absl::Status SyncedFileWriter::Finish() {
  absl::Status status;
  // A failed fsync is never retried: the next call on this descriptor may report success though the data is gone.
  if (Try("files.fsync", path_, [this] { return ::fsync(fd_); }) != 0) status = ErrnoStatus(errno, "fsync", path_);
  if (::close(std::exchange(fd_, -1)) != 0 && status.ok()) status = ErrnoStatus(errno, "close", path_);
  return status;
}

absl::Status WriteFileSynced(const std::string& path, absl::string_view content) {
  ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(path));
  RETURN_IF_ERROR(writer.Append(content));
  return writer.Finish();
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", folder);
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  if (Try("files.sync_folder", folder, [fd] { return ::fsync(fd); }) != 0) return ErrnoStatus(errno, "fsync", folder);
  return absl::OkStatus();
}

absl::Status Rename(const std::string& from, const std::string& to) {
  if (Try("files.rename", to, [&] { return ::rename(from.c_str(), to.c_str()); }) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, "rename", absl::StrCat(from, " to ", to));
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content) {
  const std::string temporary = absl::StrCat(path, ".tmp.", ::getpid());
  absl::Status status = WriteFileSynced(temporary, content);
  if (status.ok()) status = Rename(temporary, path);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncFolder(folder.empty() ? "." : folder);
}

absl::Status MakeFolders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoStatus(error.value(), "create folder", path);
  return absl::OkStatus();
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  if (const int error_number = FailpointErrno("files.remove", path); error_number != 0)
    return ErrnoStatus(error_number, "remove", path);
  std::filesystem::remove_all(path, error);
  if (error) return ErrnoStatus(error.value(), "remove", path);
  return absl::OkStatus();
}

}  // namespace grpo
