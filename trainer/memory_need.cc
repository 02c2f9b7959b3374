#include "trainer/memory_need.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "trainer/algorithm/algorithm.h"

namespace grpo {
namespace {

constexpr double kFloatBytes = 4, kBfloat16Bytes = 2, kGibibyte = 1 << 30;
// A parameter that is trained, its gradient and AdamW's moments.
constexpr double kTrainedBytes = 4 * kFloatBytes;

using Names = std::set<std::string>;

bool IsRounded(const std::string& dtype) {
  return dtype == "bfloat16";
}

double WeightBytes(const ModelConfig& model) {
  return kFloatBytes * static_cast<double>(model.NumParameters());
}

// Of one token in one layer.
double LayerBytes(const ModelConfig& model, bool rounded) {
  const auto width = static_cast<double>(model.hidden_size), inner = static_cast<double>(model.intermediate_size);
  return kFloatBytes * 2 * width + (rounded ? kBfloat16Bytes : kFloatBytes) * (8 * width + 3 * inner);
}

double RoundedHeadBytes(const ModelConfig& model, const PolicyOptions& policy) {
  const double numbers = static_cast<double>(model.vocab_size) * static_cast<double>(model.hidden_size);
  return IsRounded(policy.head_dtype) ? kBfloat16Bytes * numbers : 0;
}

// Adds the policy and, since none is made without the one that it is initialised from, those. An address takes nothing.
void AddMade(const RunConfig& config, const std::string& policy, Names* made) {
  if (IsEndpoint(config, policy)) return;
  for (std::string name = policy; !name.empty() && made->insert(name).second;) {
    const auto found = config.policies.find(name);
    name = found == config.policies.end() ? "" : found->second.initialize_from;
  }
}

// Weights of all that are in `made` and not in `others`.
absl::StatusOr<double> WeightsOf(const Names& made, const Names& others, Preflight& preflight) {
  double bytes = 0;
  for (const std::string& policy : made) {
    if (others.count(policy) > 0) continue;
    ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(policy));
    bytes += WeightBytes(shape->config);
  }
  return bytes;
}

// The key of the stage that names the policy; empty where none does.
std::string KeyOf(const Algorithm& algorithm, const std::string& policy) {
  for (const Reference& reference : algorithm.references()) {
    if (reference.section == "policies" && reference.value == policy) return reference.key;
  }
  return "";
}

// What the stage trains, and what it only reads for that.
absl::Status AddLearner(const RunConfig& config, const LearnerSpec& learner, Preflight& preflight, StageMemory* need) {
  ASSIGN_OR_RETURN(const PolicyShape* const trained, preflight.Shape(learner.policy));
  need->trained = learner.policy;
  need->trainer = EstimateTrainer(trained->config, config.policies.at(learner.policy), config.trainer);
  std::map<std::string, const ModelConfig*> frozen;
  for (const FrozenPolicy& read : learner.algorithm.frozen()) {
    ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(read.policy));
    frozen[read.policy] = &shape->config;
  }
  const LossNeed losses = learner.algorithm.loss_need(trained->config, frozen);
  need->own_parameters = kTrainedBytes * static_cast<double>(losses.num_parameters);
  for (const auto& [policy, model] : frozen) {
    const auto layers = losses.num_layers_read.find(policy);
    need->frozen.push_back({.policy = policy,
                            .key = KeyOf(learner.algorithm, policy),
                            .memory = EstimateFrozen(*model, config.policies.at(policy), config.trainer,
                                                     layers == losses.num_layers_read.end() ? 0 : layers->second)});
  }
  return absl::OkStatus();
}

// Of a refusal: the largest policy that the stage only reads, or else the one that it trains, and its bytes.
std::string LargestPart(const StageMemory& need) {
  const auto less = [](const FrozenNeed& a, const FrozenNeed& b) { return a.memory.weights < b.memory.weights; };
  const auto largest = std::max_element(need.frozen.begin(), need.frozen.end(), less);
  if (largest != need.frozen.end()) {
    return absl::StrFormat(": policies.%s (stages.%s.%s), which is only read, takes %.2f GiB in each trainer rank",
                           largest->policy, need.stage, largest->key, largest->memory.weights / kGibibyte);
  }
  if (need.trained.empty()) return "";
  return absl::StrFormat(": policies.%s (stages.%s.policy), which is trained, takes %.2f GiB in each trainer rank",
                         need.trained, need.stage, need.trainer.Held() / kGibibyte);
}

std::string WhatToDo(const StageMemory& need, int64_t num_ranks) {
  std::string remedy = num_ranks > 1 ? "lower trainer.ranks, or take smaller policies" : "take smaller policies";
  if (!need.frozen.empty()) {
    absl::StrAppend(&remedy,
                    "; a teacher's most likely tokens can be stored where there is room for it (stage type synthesize, "
                    "teacher_top_k), and training from them needs no teacher");
  }
  return remedy;
}

}  // namespace

TrainerMemory EstimateTrainer(const ModelConfig& model, const PolicyOptions& policy, const TrainerOptions& options) {
  const bool rounded = IsRounded(policy.compute_dtype);
  const auto tokens = static_cast<double>(options.micro_batch_tokens), layers = static_cast<double>(model.num_layers);
  const double weights = WeightBytes(model), per_layer = LayerBytes(model, rounded);
  const double layer_input = kFloatBytes * static_cast<double>(model.hidden_size);
  const double kept = options.activation_checkpointing ? layers * layer_input + per_layer : layers * per_layer;
  const double logits = std::min(static_cast<double>(options.head_chunk_bytes),
                                 kFloatBytes * tokens * static_cast<double>(model.vocab_size));
  const double matrices = rounded ? kBfloat16Bytes * static_cast<double>(model.NumMatrixParameters()) : 0;
  return {.weights = weights,
          .gradients = weights,
          .optimizer = 2 * weights,
          .activations = tokens * kept + logits + matrices / (options.activation_checkpointing ? layers : 1) +
                         RoundedHeadBytes(model, policy)};
}

FrozenMemory EstimateFrozen(const ModelConfig& model, const PolicyOptions& policy, const TrainerOptions& options,
                            int64_t num_layers_read) {
  const bool rounded = IsRounded(policy.compute_dtype);
  const auto tokens = static_cast<double>(options.micro_batch_tokens), width = static_cast<double>(model.hidden_size);
  const int64_t qkv_rows = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim;
  const double largest_matrix = width * static_cast<double>(std::max(qkv_rows, 2 * model.intermediate_size));
  const double outputs = kFloatBytes * width * static_cast<double>(1 + num_layers_read);
  return {.weights = WeightBytes(model),
          .activations = tokens * (LayerBytes(model, rounded) + outputs) +
                         (rounded ? kBfloat16Bytes * largest_matrix : 0) + RoundedHeadBytes(model, policy)};
}

double EstimateSentWeights(const ModelConfig& model, const std::string& compute_dtype) {
  const double rounded_away = (kFloatBytes - kBfloat16Bytes) * static_cast<double>(model.NumMatrixParameters());
  return WeightBytes(model) - (IsRounded(compute_dtype) ? rounded_away : 0);
}

double EstimateWeightBuffers(const ModelConfig& model, const std::string& compute_dtype) {
  return 2 * EstimateSentWeights(model, compute_dtype);
}

double StageMemory::AtLeast(int64_t num_ranks) const {
  double in_each_rank = trainer.Held() + own_parameters;
  for (const FrozenNeed& read : frozen) in_each_rank += read.memory.weights;
  return in_each_rank + kept_by_rank_0 + static_cast<double>(num_ranks - 1) * (in_each_rank + kept_by_others);
}

absl::StatusOr<std::vector<StageMemory>> StageMemories(const RunConfig& config, Preflight& preflight,
                                                       int64_t first_stage) {
  std::vector<StageMemory> stages;
  Names made_by_rank_0, made_by_others;
  for (int64_t i = 0; i < static_cast<int64_t>(config.stages.size()); ++i) {
    const ConfiguredStage& stage = config.stages[i];
    const std::optional<LearnerSpec> learner = stage.stage->learner();
    StageMemory need{.stage = stage.name};
    // What the stage's own part counts.
    Names in_use;
    if (learner.has_value()) {
      RETURN_IF_ERROR(AddLearner(config, *learner, preflight, &need));
      in_use.insert(need.trained);
      for (const FrozenNeed& read : need.frozen) in_use.insert(read.policy);
      for (const std::string& policy : in_use) AddMade(config, policy, &made_by_rank_0);
    } else {
      for (const Reference& reference : stage.stage->references()) {
        if (reference.section == "policies") AddMade(config, reference.value, &made_by_rank_0);
      }
    }
    if (i < first_stage) continue;
    made_by_others.insert(in_use.begin(), in_use.end());
    ASSIGN_OR_RETURN(need.kept_by_rank_0, WeightsOf(made_by_rank_0, in_use, preflight));
    ASSIGN_OR_RETURN(need.kept_by_others, WeightsOf(made_by_others, in_use, preflight));
    stages.push_back(std::move(need));
  }
  return stages;
}

absl::StatusOr<StageMemory> MemoryNeed(const RunConfig& config, Preflight& preflight, int64_t num_ranks,
                                       int64_t first_stage) {
  ASSIGN_OR_RETURN(const std::vector<StageMemory> stages, StageMemories(config, preflight, first_stage));
  StageMemory most;
  for (const StageMemory& stage : stages) {
    if (stage.AtLeast(num_ranks) > most.AtLeast(num_ranks)) most = stage;
  }
  return most;
}

absl::Status CheckMemory(const StageMemory& need, int64_t num_ranks, const MemoryPlace& place) {
  const double bytes = need.AtLeast(num_ranks);
  if (!place.bytes.has_value() || bytes <= static_cast<double>(*place.bytes)) return absl::OkStatus();
  // What matters first: grpoctl cuts long lines.
  return absl::FailedPreconditionError(
      absl::StrFormat("stage %s needs at least %.2f GiB of memory, and %s has %.2f GiB%s; that is weights, "
                      "gradients and moments in %d trainer rank%s, which neither compute_dtype nor "
                      "trainer.micro_batch_tokens makes smaller: %s",
                      need.stage, bytes / kGibibyte, place.name, static_cast<double>(*place.bytes) / kGibibyte,
                      LargestPart(need), num_ranks, num_ranks == 1 ? "" : "s", WhatToDo(need, num_ranks)));
}

absl::Status CheckMemories(const RunConfig& config, Preflight& preflight, int64_t num_ranks, const MemoryPlace& place,
                           int64_t first_stage) {
  ASSIGN_OR_RETURN(const std::vector<StageMemory> stages, StageMemories(config, preflight, first_stage));
  for (const StageMemory& stage : stages) RETURN_IF_ERROR(CheckMemory(stage, num_ranks, place));
  return absl::OkStatus();
}

double StageMemory::OfRankZero() const {
  double bytes = trainer.Total() + own_parameters + kept_by_rank_0, activations = 0;
  for (const FrozenNeed& read : frozen) {
    bytes += read.memory.weights;
    activations = std::max(activations, read.memory.activations);
  }
  return bytes + activations;
}

absl::StatusOr<double> RankGpuBytes(const RunConfig& config, Preflight& preflight) {
  ASSIGN_OR_RETURN(const std::vector<StageMemory> stages, StageMemories(config, preflight));
  double most = 0;
  for (const StageMemory& stage : stages) most = std::max(most, stage.OfRankZero());
  return most + kGpuLibrariesBytes;
}

}  // namespace grpo
