#include "trainer/policies.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/init.h"

namespace grpo {
namespace {

absl::StatusOr<std::unique_ptr<Policy>> FromWeights(const std::string& id, const WeightSet& weights,
                                                    at::ScalarType compute) {
  auto policy = std::make_unique<Policy>();
  policy->id = id;
  ASSIGN_OR_RETURN(policy->model, MakeModel(weights.manifest, weights.payload, {.compute = compute}));
  policy->tokenizer_json = std::string(TokenizerJson(weights.manifest, weights.payload));
  policy->companions = CompanionsOf(weights.manifest, weights.payload);
  ASSIGN_OR_RETURN(policy->tokenizer, Tokenizer::FromJson(policy->tokenizer_json));
  policy->number = weights.manifest.policy().number();
  return policy;
}

}  // namespace

v1::PolicyRef Policy::ref() const {
  v1::PolicyRef ref;
  ref.set_policy_id(id);
  ref.set_number(number);
  return ref;
}

absl::StatusOr<WeightSet> Policy::Pack() const {
  return PackWeights(*model, tokenizer_json, ref(), companions);
}

absl::StatusOr<Policy*> PolicyStore::Get(const std::string& id) {
  if (const auto policy = made_.find(id); policy != made_.end()) return policy->second.get();
  const auto options = options_.find(id);
  if (options == options_.end()) return absl::NotFoundError(absl::StrCat("there is no policy named ", id));
  absl::StatusOr<std::unique_ptr<Policy>> policy = Make(id, options->second);
  if (!policy.ok()) return Annotate(policy.status(), absl::StrCat("policies.", id));
  return made_.emplace(id, *std::move(policy)).first->second.get();
}

absl::Status PolicyStore::Restore(const WeightSet& weights) {
  const std::string& id = weights.manifest.policy().policy_id();
  ASSIGN_OR_RETURN(made_[id], FromWeights(id, weights, ComputeDtype(weights.manifest)));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Policy>> PolicyStore::Make(const std::string& id, const PolicyOptions& options) {
  if (!options.initialize_from.empty()) {
    ASSIGN_OR_RETURN(const Policy* origin, Get(options.initialize_from));
    ASSIGN_OR_RETURN(const WeightSet weights, origin->Pack());
    return FromWeights(id, weights, ComputeDtype(options));
  }
  ASSIGN_OR_RETURN(InitializedModel initialized, MakePolicy(options, CombineSeeds(run_seed_, HashName(id))));
  auto policy = std::make_unique<Policy>();
  policy->id = id;
  policy->model = std::move(initialized.model);
  policy->tokenizer_json = std::move(initialized.tokenizer_json);
  policy->companions = std::move(initialized.companions);
  ASSIGN_OR_RETURN(policy->tokenizer, Tokenizer::FromJson(policy->tokenizer_json));
  return policy;
}

}  // namespace grpo
