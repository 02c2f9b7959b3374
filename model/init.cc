#include "model/init.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/folder.h"

namespace grpo {
namespace {

absl::StatusOr<InitializedModel> RandomModel(const PolicyOptions::RandomInit& options, Precision precision,
                                             uint64_t seed) {
  InitializedModel result;
  ASSIGN_OR_RETURN(result.tokenizer_json, ReadFile(options.tokenizer));
  const auto tokenizer = Tokenizer::FromJson(result.tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), options.tokenizer);
  const auto eos = (*tokenizer)->TokenId(options.eos_token);
  if (!eos.ok()) return absl::InvalidArgumentError(absl::StrCat("random_init.eos_token: ", eos.status().message()));
  if (options.num_heads <= 0 || options.hidden_size % options.num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("random_init.hidden_size ", options.hidden_size,
                                                   " is not a multiple of num_heads ", options.num_heads));
  }
  ModelConfig config;
  config.vocab_size = (*tokenizer)->vocab_size();
  config.hidden_size = options.hidden_size;
  config.intermediate_size = options.intermediate_size;
  config.num_layers = options.num_layers;
  config.num_heads = options.num_heads;
  config.num_kv_heads = options.num_kv_heads;
  config.head_dim = options.hidden_size / options.num_heads;
  config.max_positions = options.max_positions;
  config.rope_theta = options.rope_theta;
  config.rms_norm_eps = options.rms_norm_eps;
  config.eos_token_ids = {*eos};
  ASSIGN_OR_RETURN(result.model, Transformer::Create(config, precision));
  result.model->InitializeRandom(seed);
  return result;
}

absl::StatusOr<InitializedModel> FolderModel(const std::string& folder, Precision precision) {
  ASSIGN_OR_RETURN(LoadedFolder loaded, LoadFolder(folder, precision));
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

at::ScalarType ComputeDtype(const PolicyOptions& options) {
  return options.compute_dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

absl::StatusOr<InitializedModel> MakePolicy(const PolicyOptions& options, uint64_t seed) {
  const bool random = options.random_init.hidden_size > 0;
  if (random == !options.path.empty()) {
    return absl::InvalidArgumentError("give exactly one of path and random_init");
  }
  const Precision precision = {.compute = ComputeDtype(options)};
  return random ? RandomModel(options.random_init, precision, seed) : FolderModel(options.path, precision);
}

}  // namespace grpo
