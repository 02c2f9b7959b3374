// Policies read from their bytes: whole in memory, or from wherever a WeightSource has them.
#ifndef GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_
#define GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/weight_source.h"
#include "model/transformer.h"
#include "model/weights/companions.h"
#include "model/weights/live_weights.h"
#include "proto/types.pb.h"

namespace grpo {

// A policy whole in memory. Nothing says that the two fit: VerifyWeights.
struct WeightSet {
  v1::WeightsManifest manifest;
  // tokenizer.json, the companions and the tensors of the manifest, back to back.
  std::string payload;
};

// The policy's tokenizer.json inside a payload that fits its manifest. A view into `payload`.
absl::string_view TokenizerJson(const v1::WeightsManifest& manifest, absl::string_view payload);
// The other files of its folder, from such a payload.
Companions CompanionsOf(const v1::WeightsManifest& manifest, absl::string_view payload);

// A payload that lies in memory, in pieces; nothing of it is verified.
class PayloadWeights : public WeightSource {
 public:
  // The pieces, back to back, are the payload; they outlive this. What lies beyond them is DataLoss.
  PayloadWeights(v1::WeightsManifest manifest, std::vector<absl::string_view> pieces)
      : WeightSource(std::move(manifest)), pieces_(std::move(pieces)) {}

 protected:
  absl::Status Copy(int64_t offset, absl::Span<char> out) const override;

 private:
  const std::vector<absl::string_view> pieces_;
};

// A copy of the model's weights as they are now (LiveWeights, model/weights/live_weights.h). Its errors. Holds all
// weights once more.
absl::StatusOr<WeightSet> PackWeights(const Transformer& model, const std::string& tokenizer_json,
                                      const v1::PolicyRef& policy, const Companions& companions = {},
                                      WeightsForm form = WeightsForm::kTrained);

// DataLoss unless the manifest passes CheckManifest and all bytes are those that it says. Reads all of them once.
// Errors of the source too (Unavailable when it is retired meanwhile).
absl::Status VerifyWeights(const WeightSource& source);
absl::Status VerifyWeights(const v1::WeightsManifest& manifest, absl::string_view payload);

// What the manifest's policy computes in, on this device, with weights kept in float32. A manifest that names no types
// means float32.
Placement PlacementOf(const v1::WeightsManifest& manifest, at::Device device = at::kCPU);
// Whether one model can take the weights of both: the architecture and what it computes in are the same.
bool SameModel(const v1::WeightsManifest& a, const v1::WeightsManifest& b);

// What a policy consists of. All of it owned.
struct MadePolicy {
  // Null from ReadInto.
  std::unique_ptr<Transformer> model;
  std::string tokenizer_json;
  Companions companions;
};

// A new model of the manifest's own architecture, with its weights, and what travels with them. Each byte is read once,
// on the process's threads, straight into the model where that keeps it as it comes, and verified on the way. A payload
// of another size than the architecture's is refused before anything is allocated. InvalidArgument names what this build
// cannot make, DataLoss (as VerifyWeights) what is damaged; errors of the source.
absl::StatusOr<MadePolicy> ReadPolicy(const WeightSource& source, Placement placement = {});
// The same weights into a model that there is, in whatever dtypes it keeps; nothing is allocated for them. Returns what
// else travels, and no model. InvalidArgument for a model of another architecture; otherwise ReadPolicy's errors, after
// which the model may hold anything.
absl::StatusOr<MadePolicy> ReadInto(const WeightSource& source, Transformer& model);
// The model alone.
absl::StatusOr<std::unique_ptr<Transformer>> MakeModel(const v1::WeightsManifest& manifest, absl::string_view payload,
                                                       Placement placement = {});

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_WEIGHT_SET_H_
