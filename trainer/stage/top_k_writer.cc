#include "trainer/stage/top_k_writer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/float16.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

int64_t NumTokens(const TokenizedTrace& trace) {
  return static_cast<int64_t>(trace.prompt_ids.size() + trace.completion_ids.size());
}

// Whether the file holds, whole, the top-k of the same tokens under the same weights.
bool IsWhole(const absl::StatusOr<TopKShardView>& view, const TopKOrigin& origin, const TopKShard& expected) {
  if (!view.ok() || view->origin() != origin || view->first_trace() != expected.first_trace ||
      view->num_traces() != static_cast<int64_t>(expected.fingerprints.size()))
    return false;
  for (int64_t i = 0; i < view->num_traces(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (view->fingerprint(i) != expected.fingerprints[at] ||
        view->num_tokens(i) != expected.offsets[at + 1] - expected.offsets[at])
      return false;
  }
  return true;
}

}  // namespace

absl::Status TopKWriter::Add(TokenizedTrace trace) {
  const auto num_rows = static_cast<int64_t>(trace.completion_ids.size());
  const bool full = static_cast<int64_t>(traces_.size()) >= limits_.max_traces ||
                    MaxTopKBytes(origin_.k, num_rows_ + num_rows) > limits_.max_bytes;
  if (full && !traces_.empty()) RETURN_IF_ERROR(WriteShard());
  num_rows_ += num_rows;
  traces_.push_back(std::move(trace));
  return absl::OkStatus();
}

absl::StatusOr<TopKWriter::Summary> TopKWriter::Finish() {
  if (!traces_.empty()) RETURN_IF_ERROR(WriteShard());
  RETURN_IF_ERROR(RemoveOthers());
  RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder_, "/", kTopKIndexFile), TopKIndexText(origin_, index_)));
  Summary summary{.num_shards = static_cast<int64_t>(index_.size())};
  for (const TopKIndexEntry& shard : index_) {
    summary.num_rows += shard.num_rows;
    summary.num_bytes += shard.num_bytes;
  }
  if (summary.num_rows > 0) summary.mass_mean = mass_ / static_cast<double>(summary.num_rows);
  return summary;
}

absl::Status TopKWriter::WriteShard() {
  TopKShard shard{.first_trace = num_traces_before_};
  for (const TokenizedTrace& trace : traces_) {
    shard.offsets.push_back(shard.offsets.back() + static_cast<int64_t>(trace.completion_ids.size()));
    shard.fingerprints.push_back(TraceFingerprint(trace));
  }
  const std::string path = absl::StrCat(folder_, "/", TopKShardFile(static_cast<int64_t>(index_.size())));
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  const std::string there = text.ok() ? *std::move(text) : "";
  if (const auto view = TopKShardView::Parse(there); IsWhole(view, origin_, shard)) {
    Count(there, *view);
  } else {
    RETURN_IF_ERROR(ComputeShard(&shard));
    const std::string written = TopKShardText(origin_, shard);
    RETURN_IF_ERROR(MakeFolders(folder_));
    RETURN_IF_ERROR(WriteFileAtomically(path, written));
    ASSIGN_OR_RETURN(const TopKShardView again, TopKShardView::Parse(written));
    Count(written, again);
  }
  num_traces_before_ += static_cast<int64_t>(traces_.size());
  traces_.clear();
  num_rows_ = 0;
  return absl::OkStatus();
}

absl::Status TopKWriter::ComputeShard(TopKShard* shard) {
  std::vector<TokenizedTrace> together;
  int64_t num_tokens = 0;
  for (TokenizedTrace& trace : traces_) {
    if (!together.empty() && num_tokens + NumTokens(trace) > limits_.max_compute_tokens) {
      RETURN_IF_ERROR(AppendRows(together, shard));
      together.clear();
      num_tokens = 0;
    }
    num_tokens += NumTokens(trace);
    together.push_back(std::move(trace));
  }
  return AppendRows(together, shard);
}

absl::Status TopKWriter::AppendRows(const std::vector<TokenizedTrace>& traces, TopKShard* shard) {
  RETURN_IF_ERROR(poll_());
  ASSIGN_OR_RETURN(const std::vector<TopK> tops, compute_(traces));
  if (tops.size() != traces.size()) return absl::InternalError("the top-k is not that of the traces");
  for (size_t i = 0; i < traces.size(); ++i) {
    const size_t size = traces[i].completion_ids.size() * static_cast<size_t>(origin_.k);
    if (tops[i].ids.size() != size || tops[i].logprobs.size() != size)
      return absl::InternalError("the top-k is not that of each token of a trace");
    shard->ids.insert(shard->ids.end(), tops[i].ids.begin(), tops[i].ids.end());
    for (const float logprob : tops[i].logprobs) {
      if (!std::isfinite(logprob)) {
        return absl::FailedPreconditionError(absl::StrCat(
            "policies.", origin_.policy,
            " gives a token a log-probability that is not finite, which nobody can learn from: its weights "
            "are damaged, or its training diverged"));
      }
      shard->logprobs.push_back(ToFloat16(std::max(logprob, -kMaxFloat16)));
    }
  }
  return absl::OkStatus();
}

void TopKWriter::Count(const std::string& text, const TopKShardView& view) {
  index_.push_back({.sha256 = Sha256Hex(text),
                    .num_traces = view.num_traces(),
                    .num_rows = view.num_rows(),
                    .num_bytes = static_cast<int64_t>(text.size())});
  // Of what was stored, so that a run that goes on says the same.
  for (int64_t i = 0; i < view.num_traces(); ++i) {
    for (const float logprob : view.Read(i, origin_.k).logprobs) mass_ += std::exp(static_cast<double>(logprob));
  }
}

absl::Status TopKWriter::RemoveOthers() const {
  std::set<std::string> ours;
  for (size_t i = 0; i < index_.size(); ++i) ours.insert(TopKShardFile(static_cast<int64_t>(i)));
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    // A shard that was being written when the run was killed, or one of an earlier attempt. The index is replaced.
    if (ours.count(it->path().filename().string()) > 0 || it->path().filename() == kTopKIndexFile) continue;
    RETURN_IF_ERROR(RemoveAll(it->path().string()));
  }
  return error ? ErrnoStatus(error.value(), "read folder", folder_) : absl::OkStatus();
}

}  // namespace grpo
