// The files of a teacher's top-k beside its traces: how they are laid out, and nothing of reading and writing the disk
// (stored_top_k.h, top_k_writer.h). Links no torch.
//
//   traces/x.jsonl                   the traces, one a line
//   traces/x.top_k/00000.safetensors the first shard: of the first traces, in the order of the lines
//   traces/x.top_k/index.json        written last: each shard's SHA-256 and size
//
// A shard of n traces with N tokens (those of the completions, the end-of-sequence token included) holds
//   offsets       I64 [n + 1]  the first row of each trace, and N
//   fingerprints  I64 [n]      TraceFingerprint: the tokens that the rows belong to
//   ids           I32 [N, K]   the likeliest first
//   logprobs      F16 [N, K]   natural logarithms at temperature 1, rounded to nearest
// and says in its metadata what TopKOrigin says, which trace is its first, and the SHA-256 of the tensors' bytes. The
// files are a function of the traces, the policy's weights and k alone; the index is one of the shards.
#ifndef GRPO_TRAINER_STAGE_TOP_K_FILES_H_
#define GRPO_TRAINER_STAGE_TOP_K_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/stage/top_k.h"

namespace grpo {

inline constexpr char kTopKIndexFile[] = "index.json";

// The folder beside the file of traces: "traces/x.jsonl" -> "traces/x.top_k".
std::string TopKFolder(absl::string_view traces_path);
// Of shard `index`, from 0, inside of it: "00000.safetensors".
std::string TopKShardFile(int64_t index);
// Bytes that the top-k of so many tokens takes at most, but for the headers of files.
int64_t MaxTopKBytes(int64_t k, int64_t num_tokens);

// Whose top-k it is, and of what.
struct TopKOrigin {
  // Entries of each token. At least 1.
  int64_t k = 0;
  // The teacher: PolicyRef's fields, StagePolicy::WeightsHash, and VocabularyDigest (model/tokenizer/tokenizer.h).
  std::string policy = {};
  int64_t policy_number = 0;
  std::string weights_hash = {}, vocabulary_sha256 = {};
  // The stage that wrote the traces, the file's name without its folder, and the SHA-256 of what it holds.
  std::string stage = {}, traces_file = {}, traces_sha256 = {};
  bool operator==(const TopKOrigin&) const = default;
};

// Of the prompt's and the completion's tokens: equal for the same trace read in the same way, and hardly ever for
// another.
int64_t TraceFingerprint(const TokenizedTrace& trace);

// A shard that is being put together.
struct TopKShard {
  int64_t first_trace = 0;
  // [n + 1], [n], [N * K], and [N * K] bits of float16.
  std::vector<int64_t> offsets = {0}, fingerprints = {};
  std::vector<int32_t> ids = {};
  std::vector<uint16_t> logprobs = {};
};
// Its file. REQUIRES: sizes that fit each other and origin.k.
std::string TopKShardText(const TopKOrigin& origin, const TopKShard& shard);

// A shard's file as it was read. Views into its content, which outlives them.
class TopKShardView {
 public:
  // DataLoss, without the file's name, for what TopKShardText did not write or what has changed since.
  static absl::StatusOr<TopKShardView> Parse(absl::string_view content);

  const TopKOrigin& origin() const { return origin_; }
  // Of all traces, from 0.
  int64_t first_trace() const { return first_trace_; }
  int64_t num_traces() const { return num_traces_; }
  int64_t num_rows() const { return num_rows_; }
  // Of the shard's trace `i`, 0 <= i < num_traces().
  int64_t fingerprint(int64_t i) const;
  // Its number of tokens.
  int64_t num_tokens(int64_t i) const;
  // Its first k entries of each token; k is at most origin().k.
  TopK Read(int64_t i, int64_t k) const;
  // Of the entries of all its tokens.
  uint32_t LargestId(int64_t i) const;

 private:
  TopKShardView() = default;

  TopKOrigin origin_;
  int64_t first_trace_ = 0, num_traces_ = 0, num_rows_ = 0;
  absl::string_view offsets_, fingerprints_, ids_, logprobs_;
};

// A line of the index.
struct TopKIndexEntry {
  std::string sha256;
  int64_t num_traces = 0, num_rows = 0, num_bytes = 0;
};
// The text of the index of these shards, in order.
std::string TopKIndexText(const TopKOrigin& origin, const std::vector<TopKIndexEntry>& shards);
// What it says of the shards; nothing else is looked at, since whoever has read the shards writes the text anew and
// compares. DataLoss, without the file's name, for what is no index of this format.
absl::StatusOr<std::vector<TopKIndexEntry>> ParseTopKIndex(absl::string_view text);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TOP_K_FILES_H_
