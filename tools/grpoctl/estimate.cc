#include "tools/grpoctl/estimate.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "tools/grpoctl/text.h"
#include "trainer/disk_need.h"

namespace grpo {
namespace {

constexpr double kFloatBytes = 4;

using Rows = std::vector<std::vector<std::string>>;

std::string ShowCount(const std::optional<int64_t>& count) {
  return count ? FormatCount(*count) : "";
}

std::string ShowUnreadable(const CheckedData& checked) {
  if (checked.num_answers == 0) return "";
  return absl::StrCat(FormatCount(checked.num_unreadable), " of ", FormatCount(checked.num_answers));
}

std::string DataTable(const std::vector<CheckedData>& checked) {
  Rows rows = {{"stage", "data", "checked", "longest, tokens", "unreadable references"}};
  for (const CheckedData& data : checked) {
    if (data.written_by.empty()) {
      rows.push_back({data.stage, data.use.data, FormatCount(data.num_items), FormatCount(data.longest_tokens),
                      ShowUnreadable(data)});
    } else {
      rows.push_back({data.stage, data.use.data, absl::StrCat("once stage ", data.written_by, " has written it")});
    }
  }
  return FormatTable(rows);
}

}  // namespace

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

double EstimateWeightBuffers(const ModelConfig& model, const std::string& compute_dtype) {
  const double rounded_away = compute_dtype == "bfloat16" ? 2.0 * static_cast<double>(model.NumMatrixParameters()) : 0;
  return 2 * (kFloatBytes * model.NumParameters() - rounded_away);
}

WorkerMemory EstimateWorker(const ModelConfig& model, const RolloutOptions& options) {
  const double context = static_cast<double>(options.ContextTokens(model.max_positions));
  const double per_token = 2.0 * model.num_layers * model.num_kv_heads * model.head_dim;
  return {.weights = 2 * kFloatBytes * model.NumParameters(),
          .kv_cache = kFloatBytes * options.slots * context * per_token};
}

absl::StatusOr<std::string> EstimateText(const RunConfig& config, Preflight& preflight,
                                         const std::vector<CheckedData>& checked, const std::string& run_dir) {
  Rows stages = {{"stage", "type", "batch", "steps", "completions", "tokens at most"}};
  for (const ConfiguredStage& configured : config.stages) {
    const StageCost cost = configured.stage->cost();
    stages.push_back({configured.name, configured.type, cost.batch, ShowCount(cost.steps), ShowCount(cost.completions),
                      ShowCount(cost.tokens)});
  }
  Rows memory = {{"policy", "parameters", "trainer", "weights", "gradients", "AdamW", "activations", "for workers here",
                  "each worker", "weights", "KV cache"}};
  for (const auto& [name, policy] : config.policies) {
    ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(name));
    const ModelConfig& model = shape->config;
    const TrainerMemory trainer = EstimateTrainer(model, policy.compute_dtype, config.trainer);
    const WorkerMemory worker = EstimateWorker(model, config.rollout_worker);
    const double buffers =
        config.coordinator.shared_memory_weights ? EstimateWeightBuffers(model, policy.compute_dtype) : 0;
    memory.push_back({name, FormatCount(model.NumParameters()), FormatBytes(trainer.Total() + buffers),
                      FormatBytes(trainer.weights), FormatBytes(trainer.gradients), FormatBytes(trainer.optimizer),
                      FormatBytes(trainer.activations), FormatBytes(buffers), FormatBytes(worker.Total()),
                      FormatBytes(worker.weights), FormatBytes(worker.kv_cache)});
  }
  ASSIGN_OR_RETURN(const double disk, DiskNeed(config, preflight));
  return absl::StrCat(
      FormatTable(stages), "\n", DataTable(checked),
      "\nMemory while a policy is trained, beside what the libraries take (about 0.3 GiB a process):\n",
      FormatTable(memory),
      absl::StrFormat("\nProcesses: %d trainer ranks, %d rollout workers, %d reward servers\n", config.trainer.ranks,
                      config.rollout_worker.workers, config.reward_server.servers),
      absl::StrFormat("Disk: at most %s at a time for checkpoints and exported policies; %s are free for %s\n",
                      FormatBytes(disk), FormatBytes(std::max(0.0, FreeBytes(run_dir))), run_dir));
}

}  // namespace grpo
