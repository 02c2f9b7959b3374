#include "trainer/policy_shape.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/random_init.h"
#include "model/weights/companions.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

absl::StatusOr<PolicyShape> ShapeOfRandomInit(const PolicyOptions::RandomInit& options) {
  PolicyShape shape;
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadFile(options.tokenizer, kMaxTokenizerBytes));
  ASSIGN_OR_RETURN(shape.tokenizer, Tokenizer::FromJson(tokenizer_json));
  ASSIGN_OR_RETURN(shape.config, RandomInitConfig(options, *shape.tokenizer));
  return shape;
}

absl::StatusOr<PolicyShape> ShapeOfFolder(const std::string& folder) {
  PolicyShape shape;
  ASSIGN_OR_RETURN(const std::string config_json, ReadModelFile(folder, "config.json", kMaxConfigBytes));
  // As whoever loads the folder reads them.
  ASSIGN_OR_RETURN(Companions companions, ReadCompanions(folder));
  ASSIGN_OR_RETURN(shape.config, ParseModelConfig(config_json, companions["generation_config.json"]));
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadModelFile(folder, "tokenizer.json", kMaxTokenizerBytes));
  ASSIGN_OR_RETURN(shape.tokenizer, Tokenizer::FromJson(tokenizer_json));
  RETURN_IF_ERROR(Annotate(CheckVocabularyFits(*shape.tokenizer, shape.config.vocab_size), folder));
  return shape;
}

// The policies from `policy` on, each initialised from the one behind it.
absl::StatusOr<std::vector<std::string>> ChainOf(const RunConfig& config, const std::string& policy) {
  std::vector<std::string> chain;
  for (std::string name = policy; !name.empty();) {
    const auto found = config.policies.find(name);
    if (found == config.policies.end())
      return absl::InvalidArgumentError(absl::StrCat("there is no policy \"", name, "\" under policies"));
    if (chain.size() > config.policies.size())
      return absl::InvalidArgumentError(absl::StrCat("policies.", policy, ".initialize_from leads in a circle"));
    chain.push_back(name);
    name = found->second.initialize_from;
  }
  if (chain.empty()) return absl::InvalidArgumentError("a policy without a name has no shape");
  return chain;
}

}  // namespace

absl::StatusOr<std::string> PolicyOrigin(const RunConfig& config, const std::string& policy) {
  ASSIGN_OR_RETURN(const std::vector<std::string> chain, ChainOf(config, policy));
  return chain.back();
}

absl::StatusOr<PolicyShape> ReadPolicyShape(const RunConfig& config, const std::string& policy) {
  ASSIGN_OR_RETURN(const std::string origin, PolicyOrigin(config, policy));
  const PolicyOptions& options = config.policies.at(origin);
  if (options.endpoint.given())
    return absl::InvalidArgumentError(absl::StrCat("policies.", origin, " is only an address and has no shape"));
  absl::StatusOr<PolicyShape> shape =
      options.path.empty() ? ShapeOfRandomInit(options.random_init) : ShapeOfFolder(options.path);
  if (!shape.ok()) return Annotate(shape.status(), absl::StrCat("policies.", origin));
  shape->origin = origin;
  return shape;
}

absl::Status CheckPolicyWeights(const RunConfig& config, const std::string& policy, const ModelConfig& shape,
                                const std::set<std::string>& made) {
  ASSIGN_OR_RETURN(const std::vector<std::string> chain, ChainOf(config, policy));
  for (const std::string& name : chain) {
    if (made.count(name) > 0) return absl::OkStatus();
  }
  const std::string& folder = config.policies.at(chain.back()).path;
  if (folder.empty()) return absl::OkStatus();
  const std::string key = absl::StrCat("policies.", chain.back());
  const absl::StatusOr<std::vector<WeightFile>> files = OpenWeightFiles(folder);
  RETURN_IF_ERROR(Annotate(files.status(), key));
  return Annotate(CheckWeightsSize(shape, *files), absl::StrCat(key, ": ", folder));
}

}  // namespace grpo
