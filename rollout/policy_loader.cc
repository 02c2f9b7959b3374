#include "rollout/policy_loader.h"

#include <utility>

#include "common/status_macros.h"
#include "model/tokenizer/tokenizer.h"

namespace grpo {

absl::StatusOr<HeldPolicy> PolicyLoader::Load(const WeightSource& source, const HeldPolicy* previous) {
  const v1::WeightsManifest& manifest = source.manifest();
  // Also after an error of the last call: then model_ is still the one that `previous` has.
  const bool in_place =
      previous != nullptr && model_ != nullptr && previous->model == model_ && SameModel(previous->manifest, manifest);
  ASSIGN_OR_RETURN(const MadePolicy made, in_place ? ReadInto(source, *model_) : Make(source));
  HeldPolicy held;
  held.manifest = manifest;
  held.model = model_;
  if (previous != nullptr && previous->manifest.tokenizer().sha256() == manifest.tokenizer().sha256()) {
    held.tokenizer = previous->tokenizer;
  } else {
    ASSIGN_OR_RETURN(held.tokenizer, Tokenizer::FromJson(made.tokenizer_json));
  }
  return held;
}

absl::StatusOr<MadePolicy> PolicyLoader::Make(const WeightSource& source) {
  model_.reset();  // before the new one is allocated, where nobody else holds it
  Placement placement = PlacementOf(source.manifest(), device_);
  placement.storage = placement.compute;
  ASSIGN_OR_RETURN(MadePolicy made, ReadPolicy(source, placement));
  model_ = std::move(made.model);
  return made;
}

}  // namespace grpo
