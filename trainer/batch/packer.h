// From sequences to micro-batches of packed tokens: what one forward and backward computes.
#ifndef GRPO_TRAINER_BATCH_PACKER_H_
#define GRPO_TRAINER_BATCH_PACKER_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/batch/streams.h"

namespace grpo {

struct Microbatch {
  // Sequences back to back; [N] int64 each. The last token of a sequence is left out: nothing is predicted from it.
  at::Tensor ids, positions;
  // Length of each sequence in ids; they sum to N.
  std::vector<int64_t> lengths;
  // M targets: the packed position that predicts each, [M] int64, and the token it should predict, [M] int64.
  at::Tensor predictor_rows, target_ids;
  // Which sequence of the micro-batch each target belongs to (counted from 0, never falling), and that sequence's
  // TokenStreams.group; [M] int64 each.
  at::Tensor sequence_of_target, group_of_target;
  // Values at the targets: [M], or [M, width] of a wider stream; float32 or int64.
  std::map<std::string, at::Tensor> streams;
};

// Fills micro-batches with whole sequences in order, at most max_tokens each (a longer sequence gets one of its own).
// Sequences without a target are left out. InvalidArgument when sizes, or names, widths and types of the streams do not
// agree.
absl::StatusOr<std::vector<Microbatch>> Pack(const std::vector<TokenStreams>& sequences, int64_t max_tokens);

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_PACKER_H_
