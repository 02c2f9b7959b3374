#include "data/streamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/parallel.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "data/file_reader.h"
#include "data/problem_records.h"

namespace grpo {
namespace {

// Read at a time while a file is indexed: enough for several threads, little to hold.
constexpr int64_t kBlockBytes = 4 << 20;
// Threads beyond these wait for the disk.
constexpr int64_t kMaxThreads = 8;
// Of an index; 8 bytes an item.
constexpr int64_t kMaxIndexBytes = int64_t{1} << 34;
// Items that checks before a run look at, of a file that has more of them than both together.
constexpr int64_t kNumLongest = 256, kNumSpread = 1024;

RecordPlace PlaceOf(const std::string& path, int64_t line_number) {
  return {.text = absl::StrCat(path, ":", line_number), .id = absl::StrCat("line/", line_number)};
}

// What an index is of.
std::string KeyOf(const RandomAccessFile& file, const ProblemFileOptions& options, const FileKind& kind,
                  const Section& section) {
  std::string key = absl::StrCat(file.Identity(), "\n", kind.format, "\n", kind.preset, "\n", kind.options_seed, "\n",
                                 DumpOptions(options));
  // With a preset it matters which of them are given.
  for (const char* field : {"problem_field", "answer_field", "id_field"})
    absl::StrAppend(&key, "\n", SectionText(section, field).value_or("preset"));
  return Sha256Hex(key);
}

// Goes through a file from its beginning and says where its items are.
class Indexer {
 public:
  Indexer(const RandomAccessFile& file, const FieldPlan& plan, const ProblemFileOptions& options, RecordCheck* check)
      : file_(file),
        plan_(plan),
        max_line_bytes_(options.max_line_bytes),
        num_threads_(std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, kMaxThreads)),
        check_(*check) {}

  absl::StatusOr<LineIndex> Run() {
    for (bool at_end = false; !at_end;) {
      const size_t old_bytes = block_.size();
      ASSIGN_OR_RETURN(const std::string more, file_.Read(block_begin_ + static_cast<int64_t>(old_bytes), kBlockBytes));
      at_end = static_cast<int64_t>(more.size()) < kBlockBytes;
      block_ += more;
      FindLines(at_end);
      RETURN_IF_ERROR(CheckLines(more));
      RETURN_IF_ERROR(KeepLines());
      block_.erase(0, whole_bytes_);
      block_begin_ += static_cast<int64_t>(whole_bytes_);
      if (static_cast<int64_t>(block_.size()) > max_line_bytes_ + kBlockBytes) {
        return absl::InvalidArgumentError(absl::StrCat(file_.path(), ":", line_number_ + 1, ": this line has ",
                                                       block_.size(), " bytes and no end yet, allowed are ",
                                                       max_line_bytes_, ": raise max_line_bytes"));
      }
    }
    RETURN_IF_ERROR(file_.CheckUnchanged());
    index_.begins.push_back(block_begin_);
    index_.begins.shrink_to_fit();
    index_.content_sha256 = hash_.Finish();
    return std::move(index_);
  }

 private:
  // A line of block_ that is not empty, without its end.
  struct Line {
    size_t begin, size;
    int64_t number;
    absl::StatusOr<RecordKeys> keys;
  };

  // The whole lines of block_; at the file's end the last one needs no line feed.
  void FindLines(bool at_end) {
    lines_.clear();
    whole_bytes_ = at_end ? block_.size() : block_.rfind('\n') + 1;
    size_t begin = block_begin_ == 0 && whole_bytes_ > 0 && absl::StartsWith(block_, "\xef\xbb\xbf") ? 3 : 0;
    while (begin < whole_bytes_) {
      const size_t end = std::min(block_.find('\n', begin), whole_bytes_);
      ++line_number_;
      const absl::string_view line = absl::string_view(block_).substr(begin, end - begin);
      if (!absl::StripAsciiWhitespace(line).empty())
        lines_.push_back({.begin = begin, .size = end - begin, .number = line_number_, .keys = RecordKeys()});
      begin = end + 1;
    }
  }

  // Fills in their keys, and hashes the bytes that are new.
  absl::Status CheckLines(absl::string_view more) {
    const int64_t num_lines = static_cast<int64_t>(lines_.size());
    // Several parts a thread, since lines are of many lengths and one thread also hashes.
    const int64_t num_parts = 4 * num_threads_;
    return RunParallel(num_threads_, num_parts + 1, [&](int64_t part) {
      if (part == 0) {
        hash_.Update(more);
        return absl::OkStatus();
      }
      const int64_t end = num_lines * part / num_parts;
      for (int64_t i = num_lines * (part - 1) / num_parts; i < end; ++i) lines_[static_cast<size_t>(i)].keys = Keys(i);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<RecordKeys> Keys(int64_t i) const {
    const Line& line = lines_[static_cast<size_t>(i)];
    const absl::string_view text = absl::string_view(block_).substr(line.begin, line.size);
    return KeysOf(TakeRecord(plan_, ParseLine(text, max_line_bytes_), PlaceOf(file_.path(), line.number)));
  }

  absl::Status KeepLines() {
    for (const Line& line : lines_) {
      ASSIGN_OR_RETURN(const bool kept, check_.Add(line.keys, PlaceOf(file_.path(), line.number)));
      if (!kept) continue;
      const auto item = static_cast<int64_t>(index_.begins.size());
      const int64_t num_others = line.number - 1 - item;
      if (num_others > (index_.gaps.empty() ? 0 : index_.gaps.back().second))
        index_.gaps.emplace_back(item, num_others);
      index_.begins.push_back(block_begin_ + static_cast<int64_t>(line.begin));
    }
    return absl::OkStatus();
  }

  const RandomAccessFile& file_;
  const FieldPlan& plan_;
  const int64_t max_line_bytes_, num_threads_;
  RecordCheck& check_;
  Sha256 hash_;
  LineIndex index_;
  // What was read and not indexed, and where in the file that begins.
  std::string block_;
  int64_t block_begin_ = 0;
  size_t whole_bytes_ = 0;
  std::vector<Line> lines_;
  int64_t line_number_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RandomAccessFile>> RandomAccessFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  struct stat opened = {};
  if (::fstat(fd, &opened) != 0) {
    const absl::Status failed = ErrnoStatus(errno, "fstat", path);
    ::close(fd);
    return failed;
  }
  return std::unique_ptr<RandomAccessFile>(new RandomAccessFile(path, fd, opened));
}

RandomAccessFile::~RandomAccessFile() {
  ::close(fd_);
}

std::string RandomAccessFile::Identity() const {
  return absl::StrCat(opened_.st_dev, ".", opened_.st_ino, ".", opened_.st_size, ".", opened_.st_mtim.tv_sec, ".",
                      opened_.st_mtim.tv_nsec, ".", opened_.st_ctim.tv_sec, ".", opened_.st_ctim.tv_nsec);
}

absl::StatusOr<std::string> RandomAccessFile::Read(int64_t offset, int64_t count) const {
  std::string bytes(static_cast<size_t>(std::clamp<int64_t>(size() - offset, 0, count)), '\0');
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t got = ::pread(fd_, bytes.data() + done, bytes.size() - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read", path_);
    if (got == 0) return Changed();
    done += static_cast<size_t>(got);
  }
  return bytes;
}

absl::Status RandomAccessFile::CheckUnchanged() const {
  struct stat now = {};
  if (::fstat(fd_, &now) != 0) return ErrnoStatus(errno, "fstat", path_);
  const bool same = now.st_size == opened_.st_size && now.st_mtim.tv_sec == opened_.st_mtim.tv_sec &&
                    now.st_mtim.tv_nsec == opened_.st_mtim.tv_nsec;
  return same ? absl::OkStatus() : Changed();
}

absl::Status RandomAccessFile::Changed() const {
  return absl::DataLossError(absl::StrCat(
      path_, " was written to while it was read: put the old content back, then go on with `grpoctl run --resume`"));
}

StreamedFile::StreamedFile(std::unique_ptr<RandomAccessFile> file, FieldPlan plan, int64_t max_line_bytes,
                           LineIndex index)
    : file_(std::move(file)),
      plan_(std::move(plan)),
      max_line_bytes_(max_line_bytes),
      index_(std::move(index)),
      longest_(index_.LongestItems(kNumLongest)) {}

absl::StatusOr<std::unique_ptr<StreamedFile>> StreamedFile::Open(const std::string& path,
                                                                 const ProblemFileOptions& options,
                                                                 const FileKind& kind, const Section& section) {
  ASSIGN_OR_RETURN(FieldPlan plan, MakeFieldPlan(options, kind, section));
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file, RandomAccessFile::Open(path));
  const std::string key = KeyOf(*file, options, kind, section);
  const auto make = [&](LineIndex index) {
    return std::unique_ptr<StreamedFile>(
        new StreamedFile(std::move(file), std::move(plan), options.max_line_bytes, std::move(index)));
  };
  const std::string index_path = path + ".index";
  if (const absl::StatusOr<std::string> text = ReadFile(index_path, kMaxIndexBytes); text.ok()) {
    absl::StatusOr<LineIndex> known = ParseLineIndex(*text, key);
    if (known.ok()) return make(*std::move(known));
  }
  spdlog::info("{}: every line is checked once, {} bytes", path, file->size());
  RecordCheck check(options, kind);
  ASSIGN_OR_RETURN(LineIndex index, Indexer(*file, plan, options, &check).Run());
  const std::string text = LineIndexText(index, key);
  if (index.num_items() == 0) return NoProblem(section, path);
  std::unique_ptr<StreamedFile> streamed = make(std::move(index));
  if (const absl::Status whole = check.Finish(path, streamed->At(0).prompt.text()); !whole.ok())
    return SectionError(section, "template", whole.message());
  if (const absl::Status kept = WriteFileAtomically(index_path, text); !kept.ok())
    spdlog::info("{}; the lines are checked again the next time", kept.ToString());
  return streamed;
}

DataItem StreamedFile::At(int64_t index) const {
  absl::StatusOr<DataItem> item = Read(index);
  if (item.ok()) return *std::move(item);
  const absl::MutexLock lock(&mutex_);
  if (status_.ok()) status_ = item.status();
  DataItem nothing;
  nothing.prompt.set_id(PlaceOf("", index_.LineNumber(index)).id);
  return nothing;
}

absl::StatusOr<DataItem> StreamedFile::Read(int64_t index) const {
  const int64_t begin = index_.begins.at(static_cast<size_t>(index));
  const int64_t end = index_.begins.at(static_cast<size_t>(index) + 1);
  std::string line;
  // Lines that are no items may stand before the next one, any number of them.
  while (begin + static_cast<int64_t>(line.size()) < end && !absl::StrContains(line, '\n')) {
    const int64_t at = begin + static_cast<int64_t>(line.size());
    ASSIGN_OR_RETURN(const std::string more, file_->Read(at, std::min(end - at, kBlockBytes)));
    line += more;
  }
  RETURN_IF_ERROR(file_->CheckUnchanged());
  const absl::string_view text = absl::string_view(line).substr(0, line.find('\n'));
  const RecordPlace place = PlaceOf(file_->path(), index_.LineNumber(index));
  absl::StatusOr<RecordItem> made = TakeRecord(plan_, ParseLine(text, max_line_bytes_), place);
  if (!made.ok()) return Annotate(made.status(), place.text);
  return std::move(made->item);
}

absl::Status StreamedFile::Check() const {
  const absl::MutexLock lock(&mutex_);
  return status_;
}

int64_t StreamedFile::num_checked(int64_t endless_items) const {
  return std::min(size(), kNumLongest + kNumSpread);
}

DataItem StreamedFile::CheckedAt(int64_t index, int64_t endless_items) const {
  if (size() <= kNumLongest + kNumSpread) return At(index);
  if (index < kNumLongest) return At(longest_[static_cast<size_t>(index)]);
  return At((index - kNumLongest) * (size() - 1) / (kNumSpread - 1));
}

}  // namespace grpo
