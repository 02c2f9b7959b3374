// A policy as a worker holds it.
#ifndef GRPO_ROLLOUT_HELD_POLICY_H_
#define GRPO_ROLLOUT_HELD_POLICY_H_

#include <memory>

#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "proto/types.pb.h"

namespace grpo {

// One version of a policy, as it came over the wire and verified: manifest.digest() is that of the received bytes.
// Copies share the model and the tokenizer.
struct HeldPolicy {
  // Policy, number, digest, configuration and compute dtype.
  v1::WeightsManifest manifest;
  // In the manifest's compute dtype, the layers' matrices kept in it too. It holds this version until the next is
  // fetched in its place (WeightChannel::Fetch).
  std::shared_ptr<const Transformer> model;
  std::shared_ptr<const Tokenizer> tokenizer;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_HELD_POLICY_H_
