#include "model/init.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "model/random_init.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/folder.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

absl::StatusOr<InitializedModel> RandomModel(const PolicyOptions::RandomInit& options, Placement placement,
                                             uint64_t seed) {
  InitializedModel result;
  ASSIGN_OR_RETURN(result.tokenizer_json, ReadFile(options.tokenizer, kMaxTokenizerBytes));
  const auto tokenizer = Tokenizer::FromJson(result.tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), options.tokenizer);
  ASSIGN_OR_RETURN(const ModelConfig config, RandomInitConfig(options, **tokenizer));
  ASSIGN_OR_RETURN(result.model, Transformer::Create(config, placement));
  result.model->InitializeRandom(seed);
  return result;
}

absl::StatusOr<InitializedModel> FolderModel(const std::string& folder, Placement placement) {
  ASSIGN_OR_RETURN(LoadedFolder loaded, LoadFolder(folder, placement));
  InitializedModel result = {.model = std::move(loaded.model),
                             .tokenizer_json = std::move(loaded.tokenizer_json),
                             .companions = std::move(loaded.companions)};
  const auto tokenizer = Tokenizer::FromJson(result.tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), folder);
  RETURN_IF_ERROR(Annotate(CheckVocabularyFits(**tokenizer, result.model->config().vocab_size), folder));
  std::vector<std::string> ignored = std::move(loaded.ignored);
  ignored.insert(ignored.end(), (*tokenizer)->ignored().begin(), (*tokenizer)->ignored().end());
  if (!ignored.empty()) spdlog::info("{}: ignored {}", folder, absl::StrJoin(ignored, "; "));
  return result;
}

}  // namespace

Placement PlacementOf(const PolicyOptions& options, at::Device device) {
  const auto dtype = [](const std::string& name) { return name == "bfloat16" ? at::kBFloat16 : at::kFloat; };
  return {.device = device,
          .compute = dtype(options.compute_dtype),
          .head = dtype(options.head_dtype),
          .head_tf32 = options.head_dtype == "tf32"};
}

absl::StatusOr<InitializedModel> MakePolicy(const PolicyOptions& options, uint64_t seed, at::Device device) {
  const bool random = options.random_init.hidden_size > 0;
  if (random == !options.path.empty()) {
    return absl::InvalidArgumentError("give exactly one of path and random_init");
  }
  const Placement placement = PlacementOf(options, device);
  return random ? RandomModel(options.random_init, placement, seed) : FolderModel(options.path, placement);
}

}  // namespace grpo
