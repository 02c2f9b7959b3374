// A policy as bytes: what is published to workers, written to checkpoints and exported, with the digest that names its
// content.
#ifndef GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_
#define GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/transformer.h"
#include "proto/types.pb.h"

namespace grpo {

struct WeightSet {
  v1::WeightsManifest manifest;
  // tokenizer.json, then the tensors of the manifest, back to back.
  std::string payload;
};

// The policy's tokenizer.json inside a verified payload.
absl::string_view TokenizerJson(const v1::WeightsManifest& manifest, absl::string_view payload);

// The tensors as a safetensors file, in the payload's order.
std::string SafetensorsOf(const WeightSet& weights);

// Copies the model's weights out under Hugging Face's names, in float32. tokenizer_json travels with them.
absl::StatusOr<WeightSet> PackWeights(const Transformer& model, const std::string& tokenizer_json,
                                      const v1::PolicyRef& policy);

// DataLoss unless sizes, per-tensor hashes and the digest of the manifest fit the payload.
absl::Status VerifyWeights(const v1::WeightsManifest& manifest, absl::string_view payload);

// Copies verified bytes into a model of the manifest's own configuration; InvalidArgument names the tensor that is
// missing, unexpected or of another shape. Verifies first; on an error the model is as it was.
absl::Status LoadWeights(const v1::WeightsManifest& manifest, absl::string_view payload, Transformer& model);

// A new model of the manifest's own architecture, with its weights. A payload of another size than that architecture's
// is refused before anything is allocated. Errors as LoadWeights.
absl::StatusOr<std::unique_ptr<Transformer>> MakeModel(const v1::WeightsManifest& manifest, absl::string_view payload);

// A Hugging Face folder: config.json, tokenizer.json, tokenizer_config.json, model.safetensors. Written beside and
// renamed into place; an earlier export is replaced. FailedPrecondition when the folder holds anything else, which is
// then left alone.
absl::Status ExportFolder(const WeightSet& weights, const std::string& folder);

// The same back, bit for bit; also the folders of others, in one file or in shards (model-*.safetensors), where
// bfloat16 and float16 become float32. NotFound for a missing file, InvalidArgument for one that does not fit.
absl::StatusOr<WeightSet> ImportFolder(const std::string& folder, const v1::PolicyRef& policy);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_
