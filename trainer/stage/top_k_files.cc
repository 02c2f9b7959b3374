#include "trainer/stage/top_k_files.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/float16.h"
#include "common/seeds.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "model/weights/safetensors.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::ordered_json;
using Metadata = std::map<std::string, std::string>;

// Of what this build writes and reads.
constexpr char kFormat[] = "grpo.top_k.1";
constexpr int64_t kIdBytes = 4, kLogprobBytes = 2, kTraceBytes = 16;
constexpr char kFirstTrace[] = "first_trace", kDataSha256[] = "data_sha256";

// What a shard and the index say alike.
Metadata ToMetadata(const TopKOrigin& origin) {
  return {{"format", kFormat},
          {"k", absl::StrCat(origin.k)},
          {"temperature", "1"},
          {"policy", origin.policy},
          {"policy_number", absl::StrCat(origin.policy_number)},
          {"weights_hash", origin.weights_hash},
          {"vocabulary_sha256", origin.vocabulary_sha256},
          {"stage", origin.stage},
          {"traces_file", origin.traces_file},
          {"traces_sha256", origin.traces_sha256}};
}

TopKOrigin FromMetadata(Metadata metadata) {
  TopKOrigin origin{.policy = metadata["policy"],
                    .weights_hash = metadata["weights_hash"],
                    .vocabulary_sha256 = metadata["vocabulary_sha256"],
                    .stage = metadata["stage"],
                    .traces_file = metadata["traces_file"],
                    .traces_sha256 = metadata["traces_sha256"]};
  // What is no number stays 0, and the metadata made anew differ.
  (void)absl::SimpleAtoi(metadata["k"], &origin.k);
  (void)absl::SimpleAtoi(metadata["policy_number"], &origin.policy_number);
  return origin;
}

template <typename T>
absl::string_view BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Number `index` of values of this type, at any address.
template <typename T>
T At(absl::string_view bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

std::string HashOf(const std::vector<SafetensorsEntry>& entries) {
  Sha256 hash;
  for (const SafetensorsEntry& entry : entries) hash.Update(entry.bytes);
  return hash.Finish();
}

// The tensors of a shard, in order.
std::vector<SafetensorsEntry> Tensors(int64_t num_traces, int64_t num_rows, int64_t k) {
  return {{.name = "offsets", .dtype = "I64", .shape = {num_traces + 1}, .bytes = {}},
          {.name = "fingerprints", .dtype = "I64", .shape = {num_traces}, .bytes = {}},
          {.name = "ids", .dtype = "I32", .shape = {num_rows, k}, .bytes = {}},
          {.name = "logprobs", .dtype = "F16", .shape = {num_rows, k}, .bytes = {}}};
}

absl::Status CheckTensors(const std::vector<SafetensorsEntry>& entries, int64_t k) {
  const absl::Status other = absl::DataLossError("its tensors are not those of a top-k shard");
  if (entries.size() != 4 || entries[1].shape.size() != 1 || entries[2].shape.size() != 2) return other;
  const std::vector<SafetensorsEntry> expected = Tensors(entries[1].shape[0], entries[2].shape[0], k);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (entries[i].name != expected[i].name || entries[i].dtype != expected[i].dtype ||
        entries[i].shape != expected[i].shape)
      return other;
  }
  return absl::OkStatus();
}

}  // namespace

std::string TopKFolder(absl::string_view traces_path) {
  return absl::StrCat(absl::StripSuffix(traces_path, ".jsonl"), ".top_k");
}

std::string TopKShardFile(int64_t index) {
  return absl::StrFormat("%05d.safetensors", index);
}

int64_t MaxTopKBytes(int64_t k, int64_t num_tokens) {
  return num_tokens * (k * (kIdBytes + kLogprobBytes) + kTraceBytes);
}

int64_t TraceFingerprint(const TokenizedTrace& trace) {
  uint64_t hash = trace.prompt_ids.size();
  for (const uint32_t id : trace.prompt_ids) hash = CombineSeeds(hash, id);
  for (const uint32_t id : trace.completion_ids) hash = CombineSeeds(hash, id);
  return static_cast<int64_t>(hash);
}

std::string TopKShardText(const TopKOrigin& origin, const TopKShard& shard) {
  std::vector<SafetensorsEntry> entries =
      Tensors(static_cast<int64_t>(shard.fingerprints.size()), shard.offsets.back(), origin.k);
  entries[0].bytes = BytesOf(shard.offsets);
  entries[1].bytes = BytesOf(shard.fingerprints);
  entries[2].bytes = BytesOf(shard.ids);
  entries[3].bytes = BytesOf(shard.logprobs);
  Metadata metadata = ToMetadata(origin);
  metadata[kFirstTrace] = absl::StrCat(shard.first_trace);
  metadata[kDataSha256] = HashOf(entries);
  return WriteSafetensors(entries, metadata);
}

absl::StatusOr<TopKShardView> TopKShardView::Parse(absl::string_view content) {
  Metadata metadata;
  const absl::StatusOr<std::vector<SafetensorsEntry>> entries = ParseSafetensors(content, &metadata);
  if (!entries.ok()) return absl::DataLossError(entries.status().message());
  TopKShardView view;
  view.origin_ = FromMetadata(metadata);
  (void)absl::SimpleAtoi(metadata[kFirstTrace], &view.first_trace_);
  Metadata again = ToMetadata(view.origin_);
  again[kFirstTrace] = absl::StrCat(view.first_trace_);
  again[kDataSha256] = HashOf(*entries);
  if (metadata[kDataSha256] != again[kDataSha256]) return absl::DataLossError("its tensors are not what was written");
  if (metadata != again || view.origin_.k < 1)
    return absl::DataLossError(absl::StrCat("it is no shard of format ", kFormat));
  RETURN_IF_ERROR(CheckTensors(*entries, view.origin_.k));
  view.num_traces_ = (*entries)[1].shape[0];
  view.num_rows_ = (*entries)[2].shape[0];
  view.offsets_ = (*entries)[0].bytes;
  view.fingerprints_ = (*entries)[1].bytes;
  view.ids_ = (*entries)[2].bytes;
  view.logprobs_ = (*entries)[3].bytes;
  int64_t row = 0;
  for (int64_t i = 0; i <= view.num_traces_; ++i) {
    const auto begin = At<int64_t>(view.offsets_, i);
    if (i == 0 ? begin != 0 : begin < row) return absl::DataLossError("its offsets do not grow from 0");
    row = begin;
  }
  if (row != view.num_rows_) return absl::DataLossError("its offsets do not end with its rows");
  return view;
}

int64_t TopKShardView::fingerprint(int64_t i) const {
  return At<int64_t>(fingerprints_, i);
}

int64_t TopKShardView::num_tokens(int64_t i) const {
  return At<int64_t>(offsets_, i + 1) - At<int64_t>(offsets_, i);
}

TopK TopKShardView::Read(int64_t i, int64_t k) const {
  const auto first = At<int64_t>(offsets_, i);
  const int64_t count = num_tokens(i);
  TopK top;
  top.ids.reserve(static_cast<size_t>(count * k));
  top.logprobs.reserve(static_cast<size_t>(count * k));
  for (int64_t row = first; row < first + count; ++row) {
    for (int64_t entry = row * origin_.k; entry < row * origin_.k + k; ++entry) {
      top.ids.push_back(At<uint32_t>(ids_, entry));
      top.logprobs.push_back(FromFloat16(At<uint16_t>(logprobs_, entry)));
    }
  }
  return top;
}

uint32_t TopKShardView::LargestId(int64_t i) const {
  const std::vector<uint32_t> ids = Read(i, origin_.k).ids;
  return ids.empty() ? 0 : *std::max_element(ids.begin(), ids.end());
}

std::string TopKIndexText(const TopKOrigin& origin, const std::vector<TopKIndexEntry>& shards) {
  ordered_json index = ToMetadata(origin);
  ordered_json list = ordered_json::array();
  for (size_t i = 0; i < shards.size(); ++i) {
    list.push_back({{"file", TopKShardFile(static_cast<int64_t>(i))},
                    {"sha256", shards[i].sha256},
                    {"num_traces", shards[i].num_traces},
                    {"num_rows", shards[i].num_rows},
                    {"num_bytes", shards[i].num_bytes}});
  }
  index["shards"] = std::move(list);
  return index.dump(2) + "\n";
}

absl::StatusOr<std::vector<TopKIndexEntry>> ParseTopKIndex(absl::string_view text) {
  const ordered_json index = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<TopKIndexEntry> shards;
  try {
    if (index.at("format") != kFormat) return absl::DataLossError(absl::StrCat("it is not of format ", kFormat));
    for (const ordered_json& shard : index.at("shards")) {
      shards.push_back({.sha256 = shard.at("sha256").get<std::string>(),
                        .num_traces = shard.at("num_traces").get<int64_t>(),
                        .num_rows = shard.at("num_rows").get<int64_t>(),
                        .num_bytes = shard.at("num_bytes").get<int64_t>()});
    }
  } catch (const ordered_json::exception&) {
    return absl::DataLossError(absl::StrCat("it is no index of shards of format ", kFormat));
  }
  return shards;
}

}  // namespace grpo
