#include "trainer/stage/stored_top_k.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr char kRunAgain[] = ": run the synthesize stage again, with teacher_top_k";
// Of an index; it has 200 bytes a shard.
constexpr int64_t kMaxIndexBytes = int64_t{64} << 20;

absl::Status NotThere(const absl::Status& status, const std::string& path) {
  if (!absl::IsNotFound(status)) return status;
  return absl::NotFoundError(absl::StrCat(path, " is not there, and holds a teacher's top-k", kRunAgain));
}

absl::Status Damaged(const std::string& path, absl::string_view how) {
  return absl::DataLossError(absl::StrCat(path, " is damaged, ", how, kRunAgain));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoredTopK>> StoredTopK::Open(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kTopKIndexFile);
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxIndexBytes);
  if (!text.ok()) return NotThere(text.status(), path);
  const absl::StatusOr<std::vector<TopKIndexEntry>> entries = ParseTopKIndex(*text);
  if (!entries.ok()) return Damaged(path, entries.status().message());
  if (entries->empty()) return Damaged(path, "it names no shard");
  std::unique_ptr<StoredTopK> stored(new StoredTopK(folder));
  for (const TopKIndexEntry& entry : *entries) RETURN_IF_ERROR(stored->AddShard(entry));
  if (TopKIndexText(stored->origin_, *entries) == *text) return stored;
  return Damaged(path, "it does not say what its shards hold");
}

absl::Status StoredTopK::AddShard(const TopKIndexEntry& entry) {
  const std::string path = absl::StrCat(folder_, "/", TopKShardFile(static_cast<int64_t>(shards_.size())));
  absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return NotThere(file.status(), path);
  const absl::string_view content = (*file)->content();
  if (Sha256Hex(content) != entry.sha256) return Damaged(path, "its SHA-256 is not the one in the index");
  const absl::StatusOr<TopKShardView> view = TopKShardView::Parse(content);
  if (!view.ok()) return Damaged(path, view.status().message());
  if (shards_.empty()) origin_ = view->origin();
  if (view->origin() != origin_ || view->first_trace() != num_traces_)
    return Damaged(path, "it does not go on where the shard before it ends");
  if (view->num_traces() != entry.num_traces || view->num_rows() != entry.num_rows ||
      static_cast<int64_t>(content.size()) != entry.num_bytes)
    return Damaged(path, "its size is not the one in the index");
  for (int64_t i = 0; i < view->num_traces(); ++i) largest_id_ = std::max(largest_id_, view->LargestId(i));
  RETURN_IF_ERROR((*file)->Check());
  num_traces_ += view->num_traces();
  shards_.push_back({*std::move(file), *view});
  return absl::OkStatus();
}

absl::Status StoredTopK::CheckFits(const std::string& data, int64_t k, const Tokenizer& tokenizer,
                                   int64_t vocab_size) const {
  if (k > origin_.k) {
    return absl::InvalidArgumentError(absl::StrCat("data.", data, ": ", folder_, " holds the ", origin_.k,
                                                   " likeliest tokens, and ", k,
                                                   " are asked for: ask for fewer, or run the synthesize stage again "
                                                   "with a larger teacher_top_k"));
  }
  if (VocabularyDigest(tokenizer) != origin_.vocabulary_sha256 || largest_id_ >= vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.", data, ": ", folder_, " holds tokens of policies.", origin_.policy,
                     ", whose vocabulary is not that of the policy that is trained: train one with the same tokenizer, "
                     "or learn from the traces' text (algorithm sft)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<TopK> StoredTopK::Of(int64_t index, const TokenizedTrace& trace, int64_t k) const {
  const auto after = std::upper_bound(shards_.begin(), shards_.end(), index, [](int64_t wanted, const Shard& shard) {
    return wanted < shard.view.first_trace();
  });
  const bool there = index >= 0 && index < num_traces_;
  const TopKShardView* const view = there ? &std::prev(after)->view : nullptr;
  const int64_t i = there ? index - view->first_trace() : 0;
  if (!there || view->fingerprint(i) != TraceFingerprint(trace) ||
      view->num_tokens(i) != static_cast<int64_t>(trace.completion_ids.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "trace ", index, " (from 0) is not the one that ", folder_,
        " holds the top-k of: prompt and completion must be read as the synthesize stage wrote them, without another "
        "template, other fields or lines left out, and with the teacher's end-of-sequence token"));
  }
  TopK top = view->Read(i, k);
  RETURN_IF_ERROR(std::prev(after)->file->Check());
  return top;
}

}  // namespace grpo
