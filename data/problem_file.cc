#include "data/problem_file.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "data/file_reader.h"
#include "data/problem_records.h"
#include "data/streamed_file.h"

namespace grpo {
namespace {

class ProblemFile : public DataSource {
 public:
  ProblemFile(std::vector<DataItem> items, std::string content_sha256)
      : items_(std::move(items)), content_sha256_(std::move(content_sha256)) {}
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  DataItem At(int64_t index) const override { return items_.at(static_cast<size_t>(index)); }
  std::string content_sha256() const override { return content_sha256_; }

 private:
  const std::vector<DataItem> items_;
  const std::string content_sha256_;
};

// Whether the file is one that is not held in memory. False where it cannot be read: then ReadRecords says why.
bool IsStreamed(const std::string& path, const ProblemFileOptions& options, const FileKind& kind) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  const absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = RandomAccessFile::Open(path);
  if (!file.ok() || (*file)->size() < options.stream_from_bytes) return false;
  const absl::StatusOr<std::string> beginning = (*file)->Read(0, 4096);
  return beginning.ok() && BeginsAsJsonLines(*beginning, kind.format);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> MakeProblemFile(const ProblemFileOptions& options, const FileKind& kind,
                                                            const DataSourceContext& context) {
  const std::string path = (std::filesystem::path(context.base_folder) / options.path).lexically_normal().string();
  if (IsStreamed(path, options, kind)) return StreamedFile::Open(path, options, kind, context.section);
  ASSIGN_OR_RETURN(const FieldPlan plan, MakeFieldPlan(options, kind, context.section));
  RecordCheck check(options, kind);
  std::vector<DataItem> items;
  const auto take = [&](absl::StatusOr<Json> record, const RecordPlace& place) -> absl::Status {
    absl::StatusOr<RecordItem> made = TakeRecord(plan, std::move(record), place);
    ASSIGN_OR_RETURN(const bool kept, check.Add(KeysOf(made), place));
    if (kept) items.push_back(std::move(made->item));
    return absl::OkStatus();
  };
  const absl::StatusOr<std::string> sha256 = ReadRecords(
      path,
      {.format = kind.format, .max_record_bytes = options.max_line_bytes, .max_file_bytes = options.max_file_bytes},
      take);
  if (!sha256.ok()) {
    if (!check.error().ok()) return check.error();
    const bool too_long = absl::IsInvalidArgument(sha256.status());
    const absl::Status placed = SectionError(
        context.section, "path",
        absl::StrCat(sha256.status().message(), too_long ? ": raise max_file_bytes if that is meant" : ""));
    return absl::Status(sha256.status().code(), placed.message());
  }
  if (items.empty()) return NoProblem(context.section, path);
  if (const absl::Status whole = check.Finish(path, items[0].prompt.text()); !whole.ok())
    return SectionError(context.section, "template", whole.message());
  return std::make_unique<ProblemFile>(std::move(items), *sha256);
}

}  // namespace grpo
