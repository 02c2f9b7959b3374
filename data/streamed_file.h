// A file of JSON lines that is too large to be held in memory: read line by line where a line is asked for. In memory
// are the places of the lines, 8 bytes each. Every record was checked once, when the file was first opened; the places
// are kept beside it (line_index.h), so that the next opening reads none of it.
#ifndef GRPO_DATA_STREAMED_FILE_H_
#define GRPO_DATA_STREAMED_FILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "data/line_index.h"
#include "data/problem_file.h"
#include "data/record_items.h"
#include "data/source.h"

namespace grpo {

// A file that is read at any place. By pread and not mapped, so that no page of it counts as this process's memory, and
// a disk that fails is an error. Thread-safe.
class RandomAccessFile {
 public:
  // ErrnoStatus's codes.
  static absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path);
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::string& path() const { return path_; }
  // When it was opened.
  int64_t size() const { return static_cast<int64_t>(opened_.st_size); }
  // Another text for another file, and for one that was written to since, as size and times tell.
  std::string Identity() const;
  // Up to `count` bytes from `offset`; fewer only at the end. ErrnoStatus's codes.
  absl::StatusOr<std::string> Read(int64_t offset, int64_t count) const;
  // DataLoss when the file was written to or truncated since it was opened.
  absl::Status CheckUnchanged() const;

 private:
  RandomAccessFile(std::string path, int fd, const struct stat& opened)
      : path_(std::move(path)), fd_(fd), opened_(opened) {}
  absl::Status Changed() const;

  const std::string path_;
  const int fd_;
  const struct stat opened_;
};

// Thread-safe.
class StreamedFile : public DataSource {
 public:
  // Checks every record, on several threads, unless the index beside the file says that this was done; writes that
  // index, and only logs where it cannot. Errors as MakeProblemFile's, without the place in the configuration for those
  // of the file; those about the template have it.
  static absl::StatusOr<std::unique_ptr<StreamedFile>> Open(const std::string& path, const ProblemFileOptions& options,
                                                            const FileKind& kind, const Section& section);

  int64_t size() const override { return index_.num_items(); }
  DataItem At(int64_t index) const override;
  std::string content_sha256() const override { return index_.content_sha256; }
  absl::Status Check() const override;
  // The longest lines, and lines at even distances.
  int64_t num_checked(int64_t endless_items) const override;
  DataItem CheckedAt(int64_t index, int64_t endless_items) const override;

 private:
  StreamedFile(std::unique_ptr<RandomAccessFile> file, FieldPlan plan, int64_t max_line_bytes, LineIndex index);
  absl::StatusOr<DataItem> Read(int64_t index) const;

  const std::unique_ptr<RandomAccessFile> file_;
  const FieldPlan plan_;
  const int64_t max_line_bytes_;
  const LineIndex index_;
  const std::vector<int64_t> longest_;
  mutable absl::Mutex mutex_;
  // The first error of At.
  mutable absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_DATA_STREAMED_FILE_H_
