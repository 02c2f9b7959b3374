// A policy's weights as others read them, straight from the tensors that are trained.
#ifndef GRPO_MODEL_WEIGHTS_LIVE_WEIGHTS_H_
#define GRPO_MODEL_WEIGHTS_LIVE_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/weight_source.h"
#include "model/transformer.h"
#include "model/weights/companions.h"

namespace grpo {

// What the numbers of a payload are.
enum class WeightsForm {
  // Float32 throughout: for checkpoints, other ranks and whoever trains on.
  kTrained,
  // As a model keeps them that only samples: of a policy that computes in bfloat16 the layers' matrices are rounded to
  // it, to the bits that the receiver would have rounded them to (model/placement.h); all else is float32. For workers:
  // half the bytes.
  kSampled,
};

// Of a model on the CPU it holds the tensors, not copies of them: whoever changes the weights calls Retire before. Of
// one on a device it holds a copy on the host in the payload's types, which no change touches. Thread-safe.
class LiveWeights final : public WeightSource {
 public:
  // One version of `policy`: the model's weights as they are now, under Hugging Face's names; tokenizer_json and
  // companions travel with them. Reads all of it once, for the digest, on the process's threads. Another form is
  // another content, with a digest of its own. InvalidArgument for what is no companion. Internal for what torch
  // throws. The model may be destroyed before this; its tensors live on.
  static absl::StatusOr<std::shared_ptr<LiveWeights>> Of(const Transformer& model, const std::string& tokenizer_json,
                                                         const v1::PolicyRef& policy, const Companions& companions = {},
                                                         WeightsForm form = WeightsForm::kTrained);

  // A piece of the payload, for the implementation: a text, or a tensor's values in the payload's dtype; where it begins
  // in the payload is in the manifest's order. In bytes of the payload. Only one of text and tensor is set.
  struct Part {
    int64_t offset, num_bytes;
    std::string text;
    at::Tensor tensor;
    at::ScalarType dtype = at::kFloat;
  };

 private:
  LiveWeights(v1::WeightsManifest manifest, std::vector<Part> parts)
      : WeightSource(std::move(manifest)), parts_(std::move(parts)) {}
  // On the caller's thread alone.
  absl::Status Copy(int64_t offset, absl::Span<char> out) const override;

  const std::vector<Part> parts_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_LIVE_WEIGHTS_H_
