#include "tools/grpoctl/estimate.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/grpoctl/text.h"
#include "trainer/algorithm/grpo_options.h"
#include "trainer/algorithm/pretrain_options.h"
#include "trainer/algorithm/sft_options.h"

namespace grpo {
namespace {

constexpr double kFloatBytes = 4;

using Rows = std::vector<std::vector<std::string>>;

absl::StatusOr<ModelConfig> ShapeOfRandomInit(const PolicyOptions::RandomInit& options) {
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadFile(options.tokenizer));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(tokenizer_json));
  ModelConfig model;
  model.vocab_size = tokenizer->vocab_size();
  model.hidden_size = options.hidden_size;
  model.intermediate_size = options.intermediate_size;
  model.num_layers = options.num_layers;
  model.num_heads = options.num_heads;
  model.num_kv_heads = options.num_kv_heads;
  model.head_dim = options.num_heads > 0 ? options.hidden_size / options.num_heads : 0;
  model.max_positions = options.max_positions;
  ASSIGN_OR_RETURN(const uint32_t eos, tokenizer->TokenId(options.eos_token));
  model.eos_token_ids = {eos};
  RETURN_IF_ERROR(model.Validate());
  return model;
}

absl::Status CheckVocabulary(const std::string& folder, const ModelConfig& shape) {
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadFile(folder + "/tokenizer.json"));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(tokenizer_json));
  return CheckVocabularyFits(*tokenizer, shape.vocab_size);
}

std::vector<std::string> GrpoRow(const TrainStageOptions& stage, const GrpoOptions& options) {
  const int64_t completions = options.prompts_per_step * options.group_size;
  const int64_t updates = options.iterations_per_step * options.minibatches_per_iteration;
  return {
      absl::StrFormat("%s prompts x %s = %s completions a step, %s updates each", FormatCount(options.prompts_per_step),
                      FormatCount(options.group_size), FormatCount(completions), FormatCount(updates)),
      FormatCount(stage.steps), FormatCount(completions * stage.steps),
      FormatCount(completions * stage.steps * options.sampling.max_new_tokens)};
}

std::vector<std::string> PretrainRow(const TrainStageOptions& stage, const PretrainOptions& options) {
  return {absl::StrFormat("%s rows x %s tokens = %s tokens a step", FormatCount(options.rows_per_step),
                          FormatCount(options.row_tokens), FormatCount(options.rows_per_step * options.row_tokens)),
          FormatCount(stage.steps), "", FormatCount(options.rows_per_step * options.row_tokens * stage.steps)};
}

absl::StatusOr<std::vector<std::string>> TrainRow(const StageOptions& stage) {
  TrainStageOptions options;
  RETURN_IF_ERROR(LoadOptions(stage.options, &options));
  if (options.algorithm == "grpo") {
    GrpoOptions grpo;
    RETURN_IF_ERROR(LoadOptions(options.algorithm_options, &grpo));
    return GrpoRow(options, grpo);
  }
  if (options.algorithm == "pretrain") {
    PretrainOptions pretrain;
    RETURN_IF_ERROR(LoadOptions(options.algorithm_options, &pretrain));
    return PretrainRow(options, pretrain);
  }
  if (options.algorithm == "sft") {
    SftOptions sft;
    RETURN_IF_ERROR(LoadOptions(options.algorithm_options, &sft));
    return std::vector<std::string>{absl::StrFormat("%s traces a step", FormatCount(sft.traces_per_step)),
                                    FormatCount(options.steps), "", ""};
  }
  return std::vector<std::string>{options.algorithm, FormatCount(options.steps), "", ""};
}

std::vector<std::string> SampleRow(int64_t problems, int64_t samples_per_problem, const SamplingOptions& sampling,
                                   const std::string& also) {
  if (problems == 0) return {absl::StrFormat("every problem x %d%s", samples_per_problem, also), "", "", ""};
  const int64_t completions = problems * samples_per_problem;
  return {absl::StrFormat("%s problems x %s%s", FormatCount(problems), FormatCount(samples_per_problem), also), "",
          FormatCount(completions), FormatCount(completions * sampling.max_new_tokens)};
}

absl::StatusOr<std::vector<std::string>> EvaluateRow(const StageOptions& stage) {
  EvaluateStageOptions options;
  RETURN_IF_ERROR(LoadOptions(stage.options, &options));
  return SampleRow(options.problems, options.samples_per_problem, options.sampling,
                   options.greedy ? ", and each problem of the data once greedily" : "");
}

absl::StatusOr<std::vector<std::string>> SynthesizeRow(const StageOptions& stage) {
  SynthesizeStageOptions options;
  RETURN_IF_ERROR(LoadOptions(stage.options, &options));
  return SampleRow(options.problems, options.samples_per_problem, options.sampling, "");
}

absl::StatusOr<std::vector<std::string>> StageRow(const StageOptions& stage) {
  if (stage.type == "train") return TrainRow(stage);
  return stage.type == "synthesize" ? SynthesizeRow(stage) : EvaluateRow(stage);
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
          .published = weights,
          .activations = tokens * kept + logits + rounded_weights};
}

WorkerMemory EstimateWorker(const ModelConfig& model, const RolloutOptions& options) {
  const double context = options.context_tokens > 0 ? options.context_tokens : model.max_positions;
  const double per_token = 2.0 * model.num_layers * model.num_kv_heads * model.head_dim;
  return {.weights = 2 * kFloatBytes * model.NumParameters(),
          .kv_cache = kFloatBytes * options.slots * context * per_token};
}

absl::StatusOr<std::string> EstimateText(const RunConfig& config) {
  Rows stages = {{"stage", "type", "batch", "steps", "completions", "tokens at most"}};
  for (const StageOptions& stage : config.stages) {
    ASSIGN_OR_RETURN(const std::vector<std::string> row, StageRow(stage));
    stages.push_back({stage.name, stage.type});
    stages.back().insert(stages.back().end(), row.begin(), row.end());
  }
  Rows memory = {{"policy", "parameters", "trainer", "weights", "gradients", "AdamW", "published", "activations",
                  "each worker", "weights", "KV cache"}};
  for (const auto& [name, policy] : config.policies) {
    ASSIGN_OR_RETURN(const ModelConfig model, PolicyShape(config, name));
    const TrainerMemory trainer = EstimateTrainer(model, policy.compute_dtype, config.trainer);
    const WorkerMemory worker = EstimateWorker(model, config.rollout_worker);
    memory.push_back({name, FormatCount(model.NumParameters()), FormatBytes(trainer.Total()),
                      FormatBytes(trainer.weights), FormatBytes(trainer.gradients), FormatBytes(trainer.optimizer),
                      FormatBytes(trainer.published), FormatBytes(trainer.activations), FormatBytes(worker.Total()),
                      FormatBytes(worker.weights), FormatBytes(worker.kv_cache)});
  }
  return absl::StrCat(
      FormatTable(stages),
      "\nMemory while a policy is trained, beside what the libraries take (about 0.3 GiB a process):\n",
      FormatTable(memory),
      absl::StrFormat("\nProcesses: %d trainer ranks, %d rollout workers, %d reward servers\n", config.trainer.ranks,
                      config.rollout_worker.workers, config.reward_server.servers));
}

}  // namespace grpo
