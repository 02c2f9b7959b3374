// Models as the command line names them: a Hugging Face folder, or a run's checkpoint (<run>/checkpoints/step-...).
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_MODEL_FOLDER_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_MODEL_FOLDER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "model/weights/companions.h"

namespace grpo {

// All of it owned.
struct LoadedModel {
  std::unique_ptr<Transformer> model;
  std::string tokenizer_json;
  std::unique_ptr<Tokenizer> tokenizer;
  Companions companions;
  // Where the weights come from when the checkpoint does not hold them itself; empty otherwise.
  std::string source;
  // What the folder asks for and is not done, a phrase each; LoadModel says it on stderr.
  std::vector<std::string> ignored = {};
};

// `policy` names one of a checkpoint's policies; it may be empty where there is one only. One that was never trained is
// made anew from where it comes from, and must have the digest that the checkpoint names. NotFound, InvalidArgument or
// DataLoss says what is wrong with the folder. A checkpoint is verified first. `placement` is the model's, whatever the
// run computed in.
absl::StatusOr<LoadedModel> LoadModel(const std::string& folder, const std::string& policy, Placement placement);

// The tokenizer alone; of a Hugging Face folder nothing else is read. Errors as LoadModel.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& folder, const std::string& policy);

// The shape of a model, as text for people and as JSON. Tokens of the model are written by its tokenizer, as they are.
std::string ModelTable(const LoadedModel& loaded);
std::string ModelJson(const LoadedModel& loaded);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_MODEL_FOLDER_H_
