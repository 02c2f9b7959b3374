// A policy's first weights, as its configuration says.
#ifndef GRPO_MODEL_INIT_H_
#define GRPO_MODEL_INIT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/options.h"
#include "model/transformer.h"
#include "model/weights/companions.h"

namespace grpo {

struct InitializedModel {
  // Without gradients until RequireGrad.
  std::unique_ptr<Transformer> model;
  // Accepted by Tokenizer::FromJson; its ids lie within the model's vocabulary.
  std::string tokenizer_json;
  // Of the folder; empty for random weights.
  Companions companions;
};

// What `policies.<name>` computes in, on this device, with weights kept in float32.
Placement PlacementOf(const PolicyOptions& options, at::Device device = at::kCPU);

// Random weights by `seed` (random_init), or those of a Hugging Face folder (path, where the seed plays no part); the
// same numbers on any device.
// initialize_from is the business of whoever holds the policies. NotFound for a missing file; InvalidArgument when
// neither or both are given, or for what does not fit. The errors of LoadFolder and Tokenizer::FromJson name the
// folder. What a folder asks for and is not done is logged in one line.
absl::StatusOr<InitializedModel> MakePolicy(const PolicyOptions& options, uint64_t seed, at::Device device = at::kCPU);

}  // namespace grpo

#endif  // GRPO_MODEL_INIT_H_
