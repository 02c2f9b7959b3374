// Models as the command line names them.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_MODEL_FOLDER_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_MODEL_FOLDER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "model/weights/weight_set.h"

namespace grpo {

// The weights in a Hugging Face folder, or those of a policy in a run's checkpoint (<run>/checkpoints/step-...), which
// `policy` names where there are several. NotFound, InvalidArgument or DataLoss says what is wrong with the folder.
absl::StatusOr<WeightSet> ReadModel(const std::string& folder, const std::string& policy);

struct LoadedModel {
  std::shared_ptr<const Transformer> model;
  std::unique_ptr<Tokenizer> tokenizer;
};

// Ready to sample, computing in `dtype`.
absl::StatusOr<LoadedModel> LoadModel(const std::string& folder, const std::string& policy, at::ScalarType dtype);

// What `model inspect` says: for people, and for programs.
struct ModelDescription {
  std::string table, json;
};
absl::StatusOr<ModelDescription> DescribeModel(const std::string& folder, const std::string& policy);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_MODEL_FOLDER_H_
