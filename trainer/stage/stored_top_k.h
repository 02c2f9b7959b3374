// A teacher's top-k as a synthesize stage stored it beside its traces (top_k_files.h), read again: training by it needs
// no teacher. Links no torch.
#ifndef GRPO_TRAINER_STAGE_STORED_TOP_K_H_
#define GRPO_TRAINER_STAGE_STORED_TOP_K_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mapped_file.h"
#include "model/tokenizer/tokenizer.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/stage/top_k_files.h"

namespace grpo {

// Thread-safe.
class StoredTopK {
 public:
  // All shards are read and hashed, then stay mapped. NotFound when the index or a shard is not there, DataLoss, with
  // the file, when one is not what was written; both say what to do. Errors of MappedFile.
  static absl::StatusOr<std::unique_ptr<StoredTopK>> Open(const std::string& folder);

  const TopKOrigin& origin() const { return origin_; }
  // Lines of the file of traces.
  int64_t num_traces() const { return num_traces_; }

  // InvalidArgument, with what to do, unless a policy with this tokenizer and so many rows in its embedding can learn
  // from the k likeliest tokens of each. `data` is the entry whose traces these are, for messages.
  absl::Status CheckFits(const std::string& data, int64_t k, const Tokenizer& tokenizer, int64_t vocab_size) const;

  // The k likeliest tokens at each token of trace `index`, its line in the file from 0. `trace` is that line as the
  // learner reads it: InvalidArgument when the teacher read another prompt or other tokens. k is at most origin().k.
  // DataLoss when the file has changed since Open.
  absl::StatusOr<TopK> Of(int64_t index, const TokenizedTrace& trace, int64_t k) const;

 private:
  struct Shard {
    std::unique_ptr<MappedFile> file;
    TopKShardView view;
  };
  explicit StoredTopK(std::string folder) : folder_(std::move(folder)) {}
  // Shard number shards_.size(), whose origin and first trace follow from those before it.
  absl::Status AddShard(const TopKIndexEntry& entry);

  const std::string folder_;
  std::vector<Shard> shards_;
  TopKOrigin origin_;
  int64_t num_traces_ = 0;
  uint32_t largest_id_ = 0;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_STORED_TOP_K_H_
