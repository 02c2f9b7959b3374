// From sequences to micro-batches of packed tokens: what one forward and backward computes.
#ifndef GRPO_TRAINER_BATCH_PACKER_H_
#define GRPO_TRAINER_BATCH_PACKER_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/attention.h"
#include "trainer/batch/streams.h"

namespace grpo {

// N packed tokens and the M targets among them. Plain tensors, as Pack makes them on the CPU.
struct Microbatch {
  // Sequences back to back; [N] int64 each. The last token of a sequence is left out: nothing is predicted from it.
  // Positions count from 0 in each sequence. What consecutive sequences of a group begin with, up to the first target
  // of any, is there once, as a sequence of the layout that theirs go on from.
  at::Tensor ids, positions;
  PackedLayout layout;
  // M targets: the packed position that predicts each, [M] int64, and the token it should predict, [M] int64. A target
  // at position t is predicted from row t - 1.
  at::Tensor predictor_rows, target_ids;
  // Which sequence of the micro-batch each target belongs to (counted from 0, never falling), and that sequence's
  // TokenStreams.group; [M] int64 each.
  at::Tensor sequence_of_target, group_of_target;
  // Values at the targets: [M], or [M, width] of a wider stream; float32 or int64.
  std::map<std::string, at::Tensor> streams;
};

// Fills micro-batches with whole sequences in order, at most max_tokens each (a longer sequence gets one of its own).
// Sequences without a target are left out. InvalidArgument when sizes, or names, widths and types of the streams do not
// agree. None at all when no sequence has a target. Which sequences share a micro-batch follows from their order, lengths
// and groups alone. max_tokens is at least 1; it counts what is shared once.
absl::StatusOr<std::vector<Microbatch>> Pack(const std::vector<TokenStreams>& sequences, int64_t max_tokens);

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_PACKER_H_
