#include "tools/grpoctl/estimate.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/random_init.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

constexpr double kFloatBytes = 4;

using Rows = std::vector<std::vector<std::string>>;

absl::StatusOr<ModelConfig> ShapeOfRandomInit(const PolicyOptions::RandomInit& options) {
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadFile(options.tokenizer));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(tokenizer_json));
  return RandomInitConfig(options, *tokenizer);
}

absl::Status CheckVocabulary(const std::string& folder, const ModelConfig& shape) {
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadFile(folder + "/tokenizer.json"));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(tokenizer_json));
  return CheckVocabularyFits(*tokenizer, shape.vocab_size);
}

std::string ShowCount(const std::optional<int64_t>& count) {
  return count ? FormatCount(*count) : "";
}

}  // namespace

absl::StatusOr<ModelConfig> PolicyShape(const RunConfig& config, const std::string& policy) {
  std::set<std::string> seen;
  for (std::string name = policy; seen.insert(name).second;) {
    const auto found = config.policies.find(name);
    if (found == config.policies.end())
      return absl::InvalidArgumentError(absl::StrCat("there is no policy \"", name, "\" under policies"));
    const PolicyOptions& options = found->second;
    if (!options.path.empty()) {
      ASSIGN_OR_RETURN(const std::string config_json, ReadFile(options.path + "/config.json"));
      const absl::StatusOr<std::string> generation = ReadFile(options.path + "/generation_config.json");
      ASSIGN_OR_RETURN(const ModelConfig shape, ParseModelConfig(config_json, generation.value_or("")));
      RETURN_IF_ERROR(Annotate(CheckVocabulary(options.path, shape), options.path));
      return shape;
    }
    if (options.initialize_from.empty()) return ShapeOfRandomInit(options.random_init);
    name = options.initialize_from;
  }
  return absl::InvalidArgumentError(absl::StrCat("policies.", policy, ".initialize_from leads in a circle"));
}

TrainerMemory EstimateTrainer(const ModelConfig& model, const std::string& compute_dtype,
                              const TrainerOptions& options) {
  const bool rounded = compute_dtype == "bfloat16";
  const double weights = kFloatBytes * model.NumParameters();
  const double tokens = options.micro_batch_tokens, layers = model.num_layers, width = model.hidden_size;
  const double per_layer =
      kFloatBytes * 2 * width + (rounded ? 2 : kFloatBytes) * (8 * width + 3 * model.intermediate_size);
  const double kept = options.activation_checkpointing ? layers * kFloatBytes * width + per_layer : layers * per_layer;
  const double logits = std::min<double>(options.head_chunk_bytes, kFloatBytes * tokens * model.vocab_size);
  const double rounded_weights = rounded ? weights / 2 / (options.activation_checkpointing ? layers : 1) : 0;
  return {.weights = weights,
          .gradients = weights,
          .optimizer = 2 * weights,
          .activations = tokens * kept + logits + rounded_weights};
}

WorkerMemory EstimateWorker(const ModelConfig& model, const RolloutOptions& options) {
  const double context = static_cast<double>(options.ContextTokens(model.max_positions));
  const double per_token = 2.0 * model.num_layers * model.num_kv_heads * model.head_dim;
  return {.weights = 2 * kFloatBytes * model.NumParameters(),
          .kv_cache = kFloatBytes * options.slots * context * per_token};
}

absl::StatusOr<std::string> EstimateText(const RunConfig& config) {
  Rows stages = {{"stage", "type", "batch", "steps", "completions", "tokens at most"}};
  for (const ConfiguredStage& configured : config.stages) {
    const StageCost cost = configured.stage->cost();
    stages.push_back({configured.name, configured.type, cost.batch, ShowCount(cost.steps), ShowCount(cost.completions),
                      ShowCount(cost.tokens)});
  }
  Rows memory = {{"policy", "parameters", "trainer", "weights", "gradients", "AdamW", "activations", "each worker",
                  "weights", "KV cache"}};
  for (const auto& [name, policy] : config.policies) {
    ASSIGN_OR_RETURN(const ModelConfig model, PolicyShape(config, name));
    const TrainerMemory trainer = EstimateTrainer(model, policy.compute_dtype, config.trainer);
    const WorkerMemory worker = EstimateWorker(model, config.rollout_worker);
    memory.push_back({name, FormatCount(model.NumParameters()), FormatBytes(trainer.Total()),
                      FormatBytes(trainer.weights), FormatBytes(trainer.gradients), FormatBytes(trainer.optimizer),
                      FormatBytes(trainer.activations), FormatBytes(worker.Total()), FormatBytes(worker.weights),
                      FormatBytes(worker.kv_cache)});
  }
  return absl::StrCat(
      FormatTable(stages),
      "\nMemory while a policy is trained, beside what the libraries take (about 0.3 GiB a process):\n",
      FormatTable(memory),
      absl::StrFormat("\nProcesses: %d trainer ranks, %d rollout workers, %d reward servers\n", config.trainer.ranks,
                      config.rollout_worker.workers, config.reward_server.servers));
}

}  // namespace grpo
