// Decoding on the CPU: every token is known when the call that drew it returns.
#ifndef GRPO_ROLLOUT_CPU_DECODER_H_
#define GRPO_ROLLOUT_CPU_DECODER_H_

#include <memory>

#include "rollout/decoder.h"

namespace grpo {

// As MakeDecoder, of a model on the CPU.
std::unique_ptr<Decoder> MakeCpuDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots,
                                        int64_t max_tokens, LapTimes* times);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_CPU_DECODER_H_
