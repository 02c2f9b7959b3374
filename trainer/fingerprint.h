// Short names for what must be equal: weights between ranks, and records between a run and its repetition.
#ifndef GRPO_TRAINER_FINGERPRINT_H_
#define GRPO_TRAINER_FINGERPRINT_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "trainer/batch/streams.h"

namespace grpo {

// XXH3 of 128 bits over the parameters' bytes in order, 32 hex digits. It costs about a tenth of a millisecond a
// megabyte, so every step can afford it; against intent, SHA-256 guards what is published and saved. Names play no
// part, shapes only by the bytes' order, nor does the device: of tensors on one all bytes are copied to the host, piece
// by piece while others are hashed. What torch throws passes through.
std::string WeightsHash(const std::vector<std::pair<std::string, at::Tensor>>& parameters);

// The same over the token ids of the batch and their number in each sequence. In the order of minibatches and
// sequences; of the whole batch, before it is shared out.
std::string TokenIdsHash(const StepBatch& batch);

}  // namespace grpo

#endif  // GRPO_TRAINER_FINGERPRINT_H_
