#include "trainer/policies.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/init.h"
#include "model/tensor.h"

namespace grpo {
namespace {

// Another policy with the same weights, in memory of its own.
absl::StatusOr<std::unique_ptr<Policy>> CopyOf(const Policy& origin, const std::string& id, Placement placement) {
  auto policy = std::make_unique<Policy>();
  policy->id = id;
  policy->number = origin.number;
  policy->tokenizer_json = origin.tokenizer_json;
  policy->companions = origin.companions;
  ASSIGN_OR_RETURN(policy->tokenizer, Tokenizer::FromJson(policy->tokenizer_json));
  ASSIGN_OR_RETURN(policy->model, Transformer::Create(origin.model->config(), placement));
  RETURN_IF_ERROR(TorchGuard([&] {
    policy->model->CopyWeights(*origin.model);
    return absl::OkStatus();
  }));
  return policy;
}

std::string SourceText(const PolicyOptions& options, uint64_t run_seed) {
  if (!options.path.empty()) return absl::StrCat("path ", options.path);
  return absl::StrCat("random_init with run.seed ", run_seed, " and ", options.random_init.tokenizer);
}

}  // namespace

v1::PolicyRef Policy::ref() const {
  v1::PolicyRef ref;
  ref.set_policy_id(id);
  ref.set_number(number);
  return ref;
}

absl::StatusOr<std::shared_ptr<const WeightSource>> Policy::Weights(WeightsForm form) const {
  const bool rounded = form == WeightsForm::kSampled && model->placement().compute != at::kFloat;
  std::shared_ptr<LiveWeights>& live = rounded ? sampled_ : trained_;
  if (live == nullptr || live->manifest().policy().number() != number) {
    ASSIGN_OR_RETURN(live, LiveWeights::Of(*model, tokenizer_json, ref(), companions, form));
  }
  return live;
}

absl::StatusOr<WeightSet> Policy::Pack() const {
  return PackWeights(*model, tokenizer_json, ref(), companions);
}

absl::Duration Policy::BeginUpdate(absl::Duration patience) {
  // Of weights on a device others read a copy, which stays as it is.
  if (!model->placement().device.is_cpu()) trained_ = sampled_ = nullptr;
  absl::Duration waited;
  for (std::shared_ptr<LiveWeights>* const form : {&trained_, &sampled_}) {
    const std::shared_ptr<LiveWeights> live = std::exchange(*form, nullptr);
    if (live != nullptr) waited += live->Retire(std::max(absl::ZeroDuration(), patience - waited));
  }
  return waited;
}

const EndpointOptions* PolicyStore::Endpoint(const std::string& id) const {
  const auto options = options_.find(id);
  return options != options_.end() && options->second.endpoint.given() ? &options->second.endpoint : nullptr;
}

absl::StatusOr<Policy*> PolicyStore::Get(const std::string& id) {
  if (const auto policy = made_.find(id); policy != made_.end()) return policy->second.get();
  const auto options = options_.find(id);
  if (options == options_.end()) return absl::NotFoundError(absl::StrCat("there is no policy named ", id));
  if (options->second.endpoint.given())
    return absl::FailedPreconditionError(absl::StrCat("policies.", id, " is only an address and has no weights"));
  absl::StatusOr<std::unique_ptr<Policy>> policy = Make(id, options->second);
  if (!policy.ok()) return Annotate(policy.status(), absl::StrCat("policies.", id));
  return made_.emplace(id, *std::move(policy)).first->second.get();
}

absl::Status PolicyStore::Restore(const WeightSource& weights) {
  const v1::WeightsManifest& manifest = weights.manifest();
  ASSIGN_OR_RETURN(MadePolicy made, ReadPolicy(weights, PlacementOf(manifest, device_)));
  auto policy = std::make_unique<Policy>();
  policy->id = manifest.policy().policy_id();
  policy->number = manifest.policy().number();
  policy->model = std::move(made.model);
  policy->tokenizer_json = std::move(made.tokenizer_json);
  policy->companions = std::move(made.companions);
  ASSIGN_OR_RETURN(policy->tokenizer, Tokenizer::FromJson(policy->tokenizer_json));
  const std::string id = policy->id;
  made_[id] = std::move(policy);
  return absl::OkStatus();
}

absl::Status PolicyStore::Restore(const WeightSet& weights) {
  return Restore(PayloadWeights(weights.manifest, {weights.payload}));
}

absl::Status PolicyStore::Remake(const UntrainedPolicy& frozen) {
  ASSIGN_OR_RETURN(const std::string first, FirstOf(frozen.id));
  const std::string key = absl::StrCat("policies.", frozen.id);
  auto policy = MakeFromSource(frozen.id, first);
  if (!policy.ok()) {
    return Annotate(policy.status(), absl::StrCat(key, ", of which the checkpoint has only the name and the digest (",
                                                  frozen.source, ")"));
  }
  ASSIGN_OR_RETURN(const auto weights, (*policy)->Weights());
  if (const std::string& now = weights->manifest().digest(); now != frozen.digest) {
    return absl::DataLossError(absl::StrCat(key, " has changed: its digest was ", frozen.digest, ", now it is ", now,
                                            "; put the old content back, or start another run with --run-dir DIR (",
                                            frozen.source, ")"));
  }
  made_[frozen.id] = *std::move(policy);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::shared_ptr<const WeightSource>>> PolicyStore::Trained() const {
  std::vector<std::shared_ptr<const WeightSource>> trained;
  for (const auto& [id, policy] : made_) {
    if (policy->number == 0) continue;
    ASSIGN_OR_RETURN(trained.emplace_back(), policy->Weights());
  }
  return trained;
}

absl::StatusOr<std::vector<UntrainedPolicy>> PolicyStore::Frozen() const {
  std::vector<UntrainedPolicy> frozen;
  for (const auto& [id, policy] : made_) {
    if (policy->number != 0) continue;
    ASSIGN_OR_RETURN(const auto weights, policy->Weights());
    ASSIGN_OR_RETURN(const std::string first, FirstOf(id));
    std::string source = SourceText(options_.at(first), run_seed_);
    if (first != id) source = absl::StrCat("initialised from ", first, ": ", source);
    frozen.push_back({.id = id, .digest = weights->manifest().digest(), .source = std::move(source)});
  }
  return frozen;
}

absl::StatusOr<std::string> PolicyStore::FirstOf(const std::string& id) const {
  std::string first = id;
  for (size_t i = 0; i <= options_.size(); ++i) {
    const auto options = options_.find(first);
    if (options == options_.end()) return absl::NotFoundError(absl::StrCat("there is no policy named ", first));
    if (options->second.initialize_from.empty()) return first;
    first = options->second.initialize_from;
  }
  return absl::NotFoundError(absl::StrCat("policies.", id, " is initialised from itself"));
}

absl::StatusOr<std::unique_ptr<Policy>> PolicyStore::MakeFromSource(const std::string& id,
                                                                    const std::string& source_id) const {
  // From memory where it is still as it was made.
  const Placement placement = PlacementOf(options_.at(id), device_);
  if (const auto made = made_.find(source_id); made != made_.end() && made->second->number == 0)
    return CopyOf(*made->second, id, placement);
  PolicyOptions options = options_.at(source_id);
  options.compute_dtype = options_.at(id).compute_dtype;
  options.head_dtype = options_.at(id).head_dtype;
  ASSIGN_OR_RETURN(InitializedModel initialized,
                   MakePolicy(options, CombineSeeds(run_seed_, HashName(source_id)), device_));
  auto policy = std::make_unique<Policy>();
  policy->id = id;
  policy->model = std::move(initialized.model);
  policy->tokenizer_json = std::move(initialized.tokenizer_json);
  policy->companions = std::move(initialized.companions);
  ASSIGN_OR_RETURN(policy->tokenizer, Tokenizer::FromJson(policy->tokenizer_json));
  return policy;
}

absl::StatusOr<std::unique_ptr<Policy>> PolicyStore::Make(const std::string& id, const PolicyOptions& options) {
  if (options.initialize_from.empty()) return MakeFromSource(id, id);
  ASSIGN_OR_RETURN(const Policy* origin, Get(options.initialize_from));
  return CopyOf(*origin, id, PlacementOf(options, device_));
}

}  // namespace grpo
