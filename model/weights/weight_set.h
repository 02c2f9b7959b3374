// A policy as bytes: what is published to workers and written to checkpoints, with the digest that names its content.
#ifndef GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_
#define GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/transformer.h"
#include "model/weights/companions.h"
#include "proto/types.pb.h"

namespace grpo {

struct WeightSet {
  v1::WeightsManifest manifest;
  // tokenizer.json, the companions and the tensors of the manifest, back to back.
  std::string payload;
};

// The policy's tokenizer.json inside a verified payload.
absl::string_view TokenizerJson(const v1::WeightsManifest& manifest, absl::string_view payload);
// The other files of its folder, from a verified payload.
Companions CompanionsOf(const v1::WeightsManifest& manifest, absl::string_view payload);

// The tensors as a safetensors file, in the payload's order.
std::string SafetensorsOf(const WeightSet& weights);

// Copies the model's weights out under Hugging Face's names, in float32. tokenizer_json and companions travel with
// them.
absl::StatusOr<WeightSet> PackWeights(const Transformer& model, const std::string& tokenizer_json,
                                      const v1::PolicyRef& policy, const Companions& companions = {});

// DataLoss unless sizes, hashes of every part and the digest of the manifest fit the payload, and its companions are
// files that there are.
absl::Status VerifyWeights(const v1::WeightsManifest& manifest, absl::string_view payload);

// Copies verified bytes into a model of the manifest's own configuration; InvalidArgument names the tensor that is
// missing, unexpected or of another shape. Verifies first; on an error the model is as it was.
absl::Status LoadWeights(const v1::WeightsManifest& manifest, absl::string_view payload, Transformer& model);

// What the manifest's policy computes in.
at::ScalarType ComputeDtype(const v1::WeightsManifest& manifest);

// A new model of the manifest's own architecture, with its weights. A payload of another size than that architecture's
// is refused before anything is allocated. Errors as LoadWeights.
absl::StatusOr<std::unique_ptr<Transformer>> MakeModel(const v1::WeightsManifest& manifest, absl::string_view payload,
                                                       Precision precision = {});

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_
