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

// InvalidArgument that begins with `what` unless the path is UTF-8, also once it is absolute: it is to stand in JSON
// and in messages, which hold no other text.
absl::Status CheckUtf8Path(absl::string_view what, const std::string& path);

// The whole file. NotFound when it is not there, InvalidArgument when it is longer than max_bytes, and for what is no
// file: a pipe without a writer would be waited for, and /dev/zero has no end. ErrnoStatus's codes otherwise
// (AlreadyExists for a folder). max_bytes counts what is read, so a file that grows meanwhile is bounded too.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes = int64_t{1} << 40);

// Before something else opens the file: NotFound when it is not there, InvalidArgument when it is a pipe, a socket, a
// device or a folder, as ReadFile says it.
absl::Status ExpectFile(const std::string& path);

// Writes and fsyncs; a reader may see the file half written. For files in a folder that is renamed into place as a
// whole. Replaces what was there. Does not sync the folder. ErrnoStatus's codes.
absl::Status WriteFileSynced(const std::string& path, absl::string_view content);

// The same for a file whose content comes in parts. One thread. Every error is one of ErrnoStatus's codes; after one,
// nothing but the destructor may follow.
class SyncedFileWriter {
 public:
  // Creates the file with rights 0644, or empties the one that is there. The folder must exist (NotFound).
  static absl::StatusOr<SyncedFileWriter> Create(const std::string& path);
  SyncedFileWriter(SyncedFileWriter&& other) noexcept;
  // Without Finish the file stays as it is then: perhaps not whole, perhaps not durable.
  ~SyncedFileWriter();

  // All of it, or an error; then a part may have been written.
  absl::Status Append(absl::string_view content);
  // The last call; the file is durable when it is OK. Never retried after an error: the kernel may have dropped the
  // pages that it could not write, and say OK the second time.
  absl::Status Finish();

 private:
  SyncedFileWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  // For messages.
  std::string path_;
  int fd_;  // -1 when closed
};

// Temporary file, fsync, rename, fsync of the folder: a reader sees the old content or the new, also after a crash. The
// temporary file is path.tmp.<pid> beside it and is removed after an error, so two threads of a process must not write
// the same path at a time. An error of the last step leaves the new content in place, perhaps not durable.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);

// Makes a rename or creation inside `folder` durable. ErrnoStatus's codes; NotFound when there is no such folder.
absl::Status SyncFolder(const std::string& folder);

// Atomic; in the same file system. Not durable before SyncFolder. What was at `to`, if it is a file, is replaced.
absl::Status Rename(const std::string& from, const std::string& to);

// The folder and those above it that are missing; OK when all are there. Not durable before SyncFolder of the one
// above.
absl::Status MakeFolders(const std::string& path);

// A file or a folder with all in it; OK when there is none. Not atomic.
absl::Status RemoveAll(const std::string& path);

// What `path` names now, for who has a file open that was there: the same file, nothing (it was deleted or moved away, or
// a folder above it), or another one that was put in its place. kSame also where that cannot be told. Two system calls.
enum class PlaceOfFile { kSame, kGone, kAnother };
PlaceOfFile WhereIs(int fd, const std::string& path);

// The status for errno after `what` failed on `path`, so that what a user did has a code other than a bug's:
//   NotFound           ENOENT
//   ResourceExhausted  ENOSPC, EDQUOT, EFBIG (ulimit -f)
//   PermissionDenied   EACCES, EPERM, EROFS
//   AlreadyExists      EEXIST, ENOTDIR, ENOTEMPTY, EISDIR, ELOOP, ENAMETOOLONG: the path cannot be taken
//   Internal           all others
// The message is "what path: errno's text".
absl::Status ErrnoStatus(int error_number, absl::string_view what, absl::string_view path);

}  // namespace grpo

#endif  // GRPO_COMMON_FILES_H_
