#include "rollout/decoder.h"

#include <utility>

#include "rollout/cpu_decoder.h"
#include "rollout/device_decoder.h"

namespace grpo {

std::unique_ptr<Decoder> MakeDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots,
                                     int64_t max_tokens, LapTimes* times) {
  if (model->placement().device.is_cpu()) {
    return std::make_unique<CpuDecoder>(std::move(model), number, num_slots, max_tokens, times);
  }
  return std::make_unique<DeviceDecoder>(std::move(model), number, num_slots, max_tokens, times);
}

}  // namespace grpo
