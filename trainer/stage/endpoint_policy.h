// A policy that is only an address, as stages see it. Links no torch.
#ifndef GRPO_TRAINER_STAGE_ENDPOINT_POLICY_H_
#define GRPO_TRAINER_STAGE_ENDPOINT_POLICY_H_

#include <memory>
#include <string>

#include "model/endpoint_options.h"
#include "trainer/stage/models.h"

namespace grpo {

// Its version is 0 for ever, its WeightsHash that of model and route. Nothing has to be published for it to be sampled.
// ExportTo and TopLogprobs are FailedPrecondition; config and tokenizer end the process: who asks for them has not
// asked for the model first. `endpoint` is copied.
std::unique_ptr<StagePolicy> MakeEndpointPolicy(const std::string& name, const EndpointOptions& endpoint);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_ENDPOINT_POLICY_H_
