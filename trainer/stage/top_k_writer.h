// Writes a policy's top-k beside its traces (top_k_files.h), shard by shard. Killed anywhere and run again with the
// same traces it ends in the same files, and computes no shard twice that was whole. Links no torch.
#ifndef GRPO_TRAINER_STAGE_TOP_K_WRITER_H_
#define GRPO_TRAINER_STAGE_TOP_K_WRITER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/stage/top_k.h"
#include "trainer/stage/top_k_files.h"

namespace grpo {

// One thread.
class TopKWriter {
 public:
  // The origin.k likeliest tokens at the completions' tokens of these traces.
  using Compute = std::function<absl::StatusOr<std::vector<TopK>>(const std::vector<TokenizedTrace>& traces)>;
  // Called between computations; its error ends the writing.
  using Poll = std::function<absl::Status()>;
  // Of a shard, one trace at least; and the tokens, prompts included, of one call of Compute.
  struct Limits {
    int64_t max_traces = 4096, max_bytes = int64_t{64} << 20, max_compute_tokens = 8192;
  };
  // What was written, or was there.
  struct Summary {
    int64_t num_shards = 0, num_rows = 0;
    // Of the shards.
    int64_t num_bytes = 0;
    // Probability that the k tokens hold, as it was stored: mean over all rows.
    double mass_mean = 0;
  };

  TopKWriter(std::string folder, TopKOrigin origin, Compute compute, Poll poll)
      : TopKWriter(std::move(folder), std::move(origin), std::move(compute), std::move(poll), Limits()) {}
  TopKWriter(std::string folder, TopKOrigin origin, Compute compute, Poll poll, Limits limits)
      : folder_(std::move(folder)),
        origin_(std::move(origin)),
        compute_(std::move(compute)),
        poll_(std::move(poll)),
        limits_(limits) {}

  // The next line of the file of traces, in order, from the first. Errors of Compute, Poll and common/files.h;
  // FailedPrecondition for a log-probability that is not finite. After an error nothing may follow.
  absl::Status Add(TokenizedTrace trace);
  // The rest, then the index; whatever else lies in the folder is removed. The last call; the errors of Add.
  absl::StatusOr<Summary> Finish();

 private:
  // What was gathered becomes the next shard, where a whole one is not there already.
  absl::Status WriteShard();
  // The shard's top-k, by calls of compute_.
  absl::Status ComputeShard(TopKShard* shard);
  absl::Status AppendRows(const std::vector<TokenizedTrace>& traces, TopKShard* shard);
  // Takes the shard into summary and index.
  void Count(const std::string& text, const TopKShardView& view);
  absl::Status RemoveOthers() const;

  const std::string folder_;
  const TopKOrigin origin_;
  const Compute compute_;
  const Poll poll_;
  const Limits limits_;
  // Of the shard that is being gathered.
  std::vector<TokenizedTrace> traces_;
  int64_t num_rows_ = 0;
  // Of the shards before it.
  int64_t num_traces_before_ = 0;
  std::vector<TopKIndexEntry> index_;
  double mass_ = 0;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TOP_K_WRITER_H_
