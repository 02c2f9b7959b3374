// Gradients of a model, for tools/parity/compare_smollm2 to hold against transformers':
//   model_gradients --model DIR --out FILE.safetensors < lines of {"ids":[T]}
// The gradient of the mean log-probability of each token after the first, over all lines, under Hugging Face's names,
// float32. The lines are run one after the other, so memory is for the longest.

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/sequence_logprobs.h"
#include "model/tensor.h"
#include "model/transformer.h"
#include "model/weights/folder.h"
#include "model/weights/safetensors.h"
#include "model/weights/tensor_bytes.h"
#include "tools/grpoctl/json_lines.h"

namespace grpo {
namespace {

using Sequences = std::vector<std::vector<int64_t>>;

absl::StatusOr<Sequences> ReadSequences(std::istream& in, const ModelConfig& config) {
  Sequences sequences;
  int64_t number = 0;
  while (const std::optional<JsonLine> line = NextJsonLine(in, &number)) {
    RETURN_IF_ERROR(line->object.status());
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, RequiredIds(*line->object, "ids", config.vocab_size));
    if (ids.size() < 2 || static_cast<int64_t>(ids.size()) > config.max_positions) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": \"ids\" holds ", ids.size(),
                                                     " tokens, and must hold 2 to ", config.max_positions));
    }
    sequences.emplace_back(ids.begin(), ids.end());
  }
  if (sequences.empty()) return absl::InvalidArgumentError("there is no line of \"ids\"");
  return sequences;
}

void AccumulateGradients(const Transformer& model, const Sequences& sequences) {
  int64_t num_targets = 0;
  for (const auto& ids : sequences) num_targets += static_cast<int64_t>(ids.size()) - 1;
  for (const auto& ids : sequences) {
    SequenceLogprobs(model, ids).sum().div(static_cast<double>(num_targets)).backward();
  }
}

absl::Status WriteTensors(const NamedTensors& tensors, const std::string& path) {
  std::vector<SafetensorsEntry> entries;
  std::vector<at::Tensor> contiguous;  // what the entries view
  for (const auto& [name, tensor] : tensors) {
    contiguous.push_back(tensor.contiguous());
    entries.push_back({name, "F32", tensor.sizes().vec(), BytesOf(contiguous.back())});
  }
  ASSIGN_OR_RETURN(SyncedFileWriter file, SyncedFileWriter::Create(path));
  RETURN_IF_ERROR(file.Append(SafetensorsHeader(entries)));
  for (const SafetensorsEntry& entry : entries) RETURN_IF_ERROR(file.Append(entry.bytes));
  return file.Finish();
}

absl::Status Run(const std::string& folder, const std::string& out) {
  ASSIGN_OR_RETURN(const LoadedFolder loaded, LoadFolder(folder));
  const Transformer& model = *loaded.model;
  ASSIGN_OR_RETURN(const Sequences sequences, ReadSequences(std::cin, model.config()));
  loaded.model->RequireGrad();
  // A model that holds gradients in place of weights knows Hugging Face's names of their parts.
  ASSIGN_OR_RETURN(const std::unique_ptr<Transformer> gradients, Transformer::Create(model.config()));
  return TorchGuard([&] {
    AccumulateGradients(model, sequences);
    const NamedTensors from = model.NamedParameters(), to = gradients->NamedParameters();
    for (size_t i = 0; i < from.size(); ++i) to[i].second.copy_(from[i].second.grad());
    return WriteTensors(gradients->HuggingFaceTensors(), out);
  });
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  CLI::App app("Gradients of the mean log-probability of the sequences on standard input.", "model_gradients");
  std::string model, out;
  app.add_option("--model", model, "A Hugging Face folder")->required()->option_text("DIR");
  app.add_option("--out", out, "The file to write")->required()->option_text("FILE.safetensors");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? grpo::kExitOk : grpo::kExitUsage;
  }
  const absl::Status status = grpo::Run(model, out);
  if (!status.ok()) std::cerr << "model_gradients: " << status.message() << "\n";
  return grpo::ExitCodeFor(status);
}
