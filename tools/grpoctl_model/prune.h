// A Hugging Face folder with fewer decoder layers: what a student begins as, whose teacher is the whole model
// (DistilBERT, arXiv:1910.01108, begins so). Links no torch.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_PRUNE_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_PRUNE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpo {

// Which layers stay; as `grpoctl model prune` has it.
struct PruneOptions {
  // "even" (EvenLayers of model/even_layers.h), or numbers from 1 in rising order with commas between: "1,4,7".
  std::string layers = "even";
  // How many of "even"; half of them, rounded up, by default.
  std::optional<int64_t> keep;
};

// The layers of num_layers that stay, numbered from 1 and rising; at least one. InvalidArgument, with the option and
// its value, for a layer that does not exist, stands twice or out of order, for `keep` outside [1, num_layers], and for
// `keep` beside a list. Pure.
absl::StatusOr<std::vector<int64_t>> ChooseLayers(const PruneOptions& options, int64_t num_layers);

// Writes `out`: the folder's model with these layers alone, numbered anew, and returns them (ChooseLayers). Weights are
// copied as they are, bit for bit in their dtype, and lie in as many files as before where none becomes empty; a tied
// head stays tied. config.json keeps every key but num_hidden_layers, layer_types and max_window_layers, which follow;
// tokenizer.json and the companions (model/weights/companions.h) are the same bytes, and other files stay behind.
// Written beside and renamed into place: `out` is whole or absent. Memory: the files are mapped, nothing is copied.
//
// FailedPrecondition for an `out` that holds anything. NotFound, InvalidArgument or DataLoss for what is wrong with the
// folder, as LoadFolder, where all layers must have tensors of the same names; shapes and dtypes are not looked at.
// Blocks until all is on disk.
absl::StatusOr<std::vector<int64_t>> PruneFolder(const std::string& folder, const PruneOptions& options,
                                                 const std::string& out);

// Which of the teacher's layers each of the student's was, for people and as JSON: {"exported_to", "layers":
// [{"student", "teacher"}]}. Numbers count from 1.
std::string PrunedTable(const std::vector<int64_t>& layers);
std::string PrunedJson(const std::vector<int64_t>& layers, const std::string& out);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_PRUNE_H_
