#include "model/sequence_logprobs.h"

#include <ATen/ops/arange.h>

#include "model/attention.h"
#include "model/device.h"
#include "model/lm_head.h"
#include "model/tf32.h"

namespace grpo {

at::Tensor SequenceLogprobs(const Transformer& model, const std::vector<int64_t>& ids) {
  const int64_t length = static_cast<int64_t>(ids.size()) - 1;
  const at::Tensor all = ToDevice(ids, model.placement().device);
  PackedAttention attention({length});
  const at::Tensor positions = at::arange(length, all.options());
  const at::Tensor hidden = model.Forward(all.narrow(0, 0, length), positions, attention);  // [T - 1, D]
  const Tf32Scope tf32(model.placement().head_tf32);
  return TargetLogprobs(hidden, model.head(), all.narrow(0, 1, length), /*temperature=*/1, kDefaultHeadChunkBytes,
                        model.placement().head);
}

}  // namespace grpo
