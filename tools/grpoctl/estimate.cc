#include "tools/grpoctl/estimate.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/machine_memory.h"
#include "common/status_macros.h"
#include "tools/grpoctl/text.h"
#include "tools/launch/gpus.h"
#include "trainer/disk_need.h"
#include "trainer/memory_need.h"

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

// Of the policies that stages only read; empty where none does.
std::string FrozenTable(const std::vector<StageMemory>& stages) {
  Rows rows = {{"stage", "reads", "named by", "in each trainer rank", "weights", "activations"}};
  for (const StageMemory& stage : stages) {
    for (const FrozenNeed& frozen : stage.frozen) {
      rows.push_back({stage.stage, frozen.policy, frozen.key,
                      FormatBytes(frozen.memory.weights + frozen.memory.activations),
                      FormatBytes(frozen.memory.weights), FormatBytes(frozen.memory.activations)});
    }
  }
  if (rows.size() == 1) return "";
  return absl::StrCat(
      "\nMemory of policies that a stage only reads (references, teachers), beside the one that it trains:\n",
      FormatTable(rows));
}

// What no run does without, and what there is.
std::string MemoryLine(const StageMemory& need, int64_t num_ranks) {
  const std::optional<int64_t> machine = MachineMemoryBytes();
  return absl::StrFormat(
      "Memory: at least %s for weights, gradients and moments in all trainer ranks, in stage %s; this machine has %s\n",
      FormatBytes(need.AtLeast(num_ranks)), need.stage,
      machine.has_value() ? FormatBytes(static_cast<double>(*machine)) : "an amount that it does not tell");
}

// Whether the ranks, or the workers, may compute on GPUs: here, or where a cluster is asked for some.
bool MayTakeGpus(const std::string& device, const LaunchRoleOptions& launch) {
  return TakesGpus(device, launch.gpus_per_process > 0 || !VisibleGpus().empty());
}

// What lies on each GPU; empty where the run takes none.
absl::StatusOr<std::string> GpuLines(const RunConfig& config, Preflight& preflight) {
  const bool ranks = MayTakeGpus(config.trainer.device, config.launch.trainer);
  const bool workers =
      config.NumWorkers() > 0 && MayTakeGpus(config.rollout_worker.device, config.launch.rollout_worker);
  if (!ranks && !workers) return std::string();
  std::string text = absl::StrCat("\nMemory on GPUs, about, ", FormatBytes(kGpuLibrariesBytes),
                                  " of each for CUDA itself; where a rank and a worker share one, both:\n");
  if (ranks) {
    ASSIGN_OR_RETURN(const double bytes, RankGpuBytes(config, preflight));
    absl::StrAppend(&text, "  each trainer rank ", FormatBytes(bytes),
                    ", in the stage that needs most; attention there reads a shared prompt once for each completion\n");
  }
  if (!workers) return text;
  for (const auto& [name, policy] : config.policies) {
    if (policy.endpoint.given()) continue;
    ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(name));
    const GpuWorkerMemory worker = EstimateGpuWorker(shape->config, policy, config.rollout_worker);
    absl::StrAppend(&text, "  each worker ", FormatBytes(worker.Total()), " for policy ", name, ": weights ",
                    FormatBytes(worker.weights), ", keys and values ", FormatBytes(worker.kv_cache), ", sampling ",
                    FormatBytes(worker.sampling), "\n");
  }
  return text;
}

}  // namespace

GpuWorkerMemory EstimateGpuWorker(const ModelConfig& model, const PolicyOptions& policy,
                                  const RolloutOptions& options) {
  // A logit, its probability in double precision and that once more.
  constexpr double kSamplingBytes = 4 + 8 + 8;
  const auto slots = static_cast<double>(options.slots);
  const double per_token = 2.0 * model.num_layers * model.num_kv_heads * model.head_dim;
  const double bytes_each = policy.compute_dtype == "bfloat16" ? kFloatBytes / 2 : kFloatBytes;
  return {.weights = EstimateSentWeights(model, policy.compute_dtype),
          .kv_cache = bytes_each * slots * options.ContextTokens(model.max_positions) * per_token,
          .sampling = kSamplingBytes * slots * static_cast<double>(model.vocab_size)};
}

WorkerMemory EstimateWorker(const ModelConfig& model, const PolicyOptions& policy, const RolloutOptions& options) {
  const auto bytes_of = [](const std::string& dtype) { return dtype == "bfloat16" ? kFloatBytes / 2 : kFloatBytes; };
  const double context = static_cast<double>(options.ContextTokens(model.max_positions));
  const double per_token = 2.0 * model.num_layers * model.num_kv_heads * model.head_dim;
  const double head = static_cast<double>(model.vocab_size) * static_cast<double>(model.hidden_size);
  return {.weights = 2 * EstimateSentWeights(model, policy.compute_dtype),
          .packed = bytes_of(policy.compute_dtype) * static_cast<double>(model.NumMatrixParameters()) +
                    bytes_of(policy.head_dtype) * head,
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
                  "each worker", "weights", "packed", "KV cache"}};
  for (const auto& [name, policy] : config.policies) {
    // One that is only an address takes no memory here.
    if (policy.endpoint.given()) continue;
    ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(name));
    const ModelConfig& model = shape->config;
    const TrainerMemory trainer = EstimateTrainer(model, policy, config.trainer);
    const WorkerMemory worker = EstimateWorker(model, policy, config.rollout_worker);
    const double buffers =
        config.coordinator.shared_memory_weights ? EstimateWeightBuffers(model, policy.compute_dtype) : 0;
    memory.push_back({name, FormatCount(model.NumParameters()), FormatBytes(trainer.Total() + buffers),
                      FormatBytes(trainer.weights), FormatBytes(trainer.gradients), FormatBytes(trainer.optimizer),
                      FormatBytes(trainer.activations), FormatBytes(buffers), FormatBytes(worker.Total()),
                      FormatBytes(worker.weights), FormatBytes(worker.packed), FormatBytes(worker.kv_cache)});
  }
  ASSIGN_OR_RETURN(const std::vector<StageMemory> of_stages, StageMemories(config, preflight));
  ASSIGN_OR_RETURN(const StageMemory need, MemoryNeed(config, preflight, config.trainer.ranks));
  ASSIGN_OR_RETURN(const double disk, DiskNeed(config, preflight));
  ASSIGN_OR_RETURN(const std::string on_gpus, GpuLines(config, preflight));
  return absl::StrCat(
      FormatTable(stages), "\n", DataTable(checked),
      "\nMemory while a policy is trained, beside what the libraries take (about 0.3 GiB a process):\n",
      FormatTable(memory), FrozenTable(of_stages), on_gpus,
      absl::StrFormat("\nProcesses: %d trainer ranks, %d rollout workers, %d reward servers\n", config.trainer.ranks,
                      config.NumWorkers(), config.NumRewardServers()),
      MemoryLine(need, config.trainer.ranks),
      absl::StrFormat("Disk: at most %s at a time for checkpoints and exported policies; %s are free for %s\n",
                      FormatBytes(disk), FormatBytes(std::max(0.0, FreeBytes(run_dir))), run_dir));
}

}  // namespace grpo
