// A file mapped into memory, to read large ones without a copy.
#ifndef GRPO_COMMON_MAPPED_FILE_H_
#define GRPO_COMMON_MAPPED_FILE_H_

#include <sys/stat.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// Repairs pages of a MappedFile. Any other that cannot be read or written (SQLite's shared memory on a full disk) ends
// the process, or goes to the handler that was there before, after a line on stderr that names the file. Thread-safe; does
// something once.
void InstallSigbusHandler();

// Where a mapped page can no longer be read, because someone truncated the file or the disk failed, the kernel sends
// SIGBUS, which ends the process. Here the page is replaced by zeros instead, and Check says so: whoever copies out of
// content() asks Check afterwards, before the copy is used. (Reading by pread would have its errors at hand, at the
// price of a buffer and a second copy.) The first Open calls InstallSigbusHandler. Thread-safe.
class MappedFile {
 public:
  // NotFound and others as ReadFile; InvalidArgument for what is no regular file; ResourceExhausted beyond 4096 at a
  // time.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  // Unmaps: no view of content() may be used any more.
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // The file's bytes when it was opened, as long as this object lives; empty for an empty file. Pages are read from
  // disk when they are first touched.
  absl::string_view content() const { return content_; }
  const std::string& path() const { return path_; }

  // DataLoss when what was read from content() since Open may not be what the file held: it was truncated, written to
  // (as size and time of change tell), or could not be read.
  absl::Status Check() const;

 private:
  MappedFile(std::string path, int fd, const struct stat& opened);

  const std::string path_;
  const int fd_;
  // What the file was when it was opened; Check compares.
  const struct stat opened_;
  absl::string_view content_;
  // Of the table that the handler reads; -1 for an empty file, which has no pages.
  int slot_ = -1;
};

}  // namespace grpo

#endif  // GRPO_COMMON_MAPPED_FILE_H_
