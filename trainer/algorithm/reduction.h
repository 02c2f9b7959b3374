// How the terms of single tokens become one loss. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_REDUCTION_H_
#define GRPO_TRAINER_ALGORITHM_REDUCTION_H_

#include <string>
#include <vector>

#include "trainer/batch/streams.h"

namespace grpo {

// Tokens of the sequence that are trained on.
int64_t NumTargets(const TokenStreams& sequence);

// For each sequence of one optimizer update, the weight of each of its targets in the update's loss; they sum to 1.
// `loss_reduction`: token_mean, every target counts alike (DAPO, arXiv:2503.14476), or sequence_mean, every sequence
// that has targets counts alike and they share its weight (arXiv:2402.03300). 0 where there is no target. One for each
// sequence, in order. The sequences are those of all ranks and micro-batches of the update: they are counted before the
// batch is cut up.
std::vector<double> TargetWeights(const std::vector<TokenStreams>& sequences, const std::string& loss_reduction);

// Gives the stream one value at every token of the sequence, prompt included.
void FillStream(const std::string& name, double value, TokenStreams* sequence);

// One update on the cross-entropy of all targets: fills the sequences' ce_weight and the metric num_tokens. Each
// sequence is a group of its own. loss_reduction is as in TargetWeights.
StepBatch CrossEntropyBatch(std::vector<TokenStreams> sequences, const std::string& loss_reduction);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_REDUCTION_H_
