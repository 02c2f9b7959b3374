// Files that survive kill -9 (docs/design.md law 7). Messages name the path and errno's text. Thread-safe.
//
// Before each system call that changes anything lies a failpoint (common/failpoint.h) with the path as its detail:
// files.open, files.write, files.fsync, files.rename, files.sync_folder, files.remove.
#ifndef GRPO_COMMON_FILES_H_
#define GRPO_COMMON_FILES_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// The whole file. NotFound when it is not there, InvalidArgument when it is longer than max_bytes.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes = int64_t{1} << 40);

// Writes and fsyncs; a reader may see the file half written. For files in a folder that is renamed into place as a
// whole.
absl::Status WriteFileSynced(const std::string& path, absl::string_view content);

// The same for a file whose content comes in parts. One thread.
class SyncedFileWriter {
 public:
  static absl::StatusOr<SyncedFileWriter> Create(const std::string& path);
  SyncedFileWriter(SyncedFileWriter&& other) noexcept;
  // Without Finish the file stays as it is then: perhaps not whole, perhaps not durable.
  ~SyncedFileWriter();

  absl::Status Append(absl::string_view content);
  // The last call; the file is durable when it is OK.
  absl::Status Finish();

 private:
  SyncedFileWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_;  // -1 when closed
};

// Temporary file, fsync, rename, fsync of the folder: a reader sees the old content or the new, also after a crash.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);

// Makes a rename or creation inside `folder` durable.
absl::Status SyncFolder(const std::string& folder);

// Atomic; in the same file system. Not durable before SyncFolder.
absl::Status Rename(const std::string& from, const std::string& to);

absl::Status MakeFolders(const std::string& path);

// A file or a folder with all in it; OK when there is none. Not atomic.
absl::Status RemoveAll(const std::string& path);

// The status for errno after `what` failed on `path`: NotFound for ENOENT, ResourceExhausted for ENOSPC, Internal
// otherwise.
absl::Status ErrnoStatus(int error_number, absl::string_view what, absl::string_view path);

}  // namespace grpo

#endif  // GRPO_COMMON_FILES_H_
