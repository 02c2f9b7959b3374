#include "tools/grpoctl_model/model_folder.h"

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "model/weights/folder.h"
#include "model/weights/weight_set.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/store.h"
#include "trainer/policies.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

// What a folder's name stands for.
struct Place {
  fs::path path;
  bool checkpoint = false;
};

absl::StatusOr<Place> FindPlace(const std::string& folder, const std::string& policy) {
  Place place = {.path = fs::absolute(folder).lexically_normal()};
  // A trailing slash would hide the name.
  if (!place.path.has_filename()) place.path = place.path.parent_path();
  std::error_code error;
  // What every checkpoint has, and no Hugging Face folder.
  place.checkpoint = fs::exists(place.path / kConfigFile, error) && fs::exists(place.path / "manifest.json", error);
  if (!place.checkpoint && !policy.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, " is no checkpoint of a run, so --policy chooses nothing there: leave it out"));
  }
  return place;
}

absl::StatusOr<LoadedModel> FromFolder(const std::string& folder, Placement placement) {
  ASSIGN_OR_RETURN(LoadedFolder loaded, LoadFolder(folder, placement));
  return LoadedModel{.model = std::move(loaded.model),
                     .tokenizer_json = std::move(loaded.tokenizer_json),
                     .tokenizer = nullptr,
                     .companions = std::move(loaded.companions),
                     .source = {},
                     .ignored = std::move(loaded.ignored)};
}

absl::StatusOr<LoadedModel> FromWeights(const WeightSource& weights, Placement placement) {
  ASSIGN_OR_RETURN(MadePolicy made, ReadPolicy(weights, placement));
  LoadedModel loaded;
  loaded.model = std::move(made.model);
  loaded.tokenizer_json = std::move(made.tokenizer_json);
  loaded.companions = std::move(made.companions);
  return loaded;
}

// A policy that the checkpoint only names.
absl::StatusOr<LoadedModel> FromFrozen(const fs::path& place, const UntrainedPolicy& frozen, Placement placement) {
  ASSIGN_OR_RETURN(const LoadedConfig config, LoadRunConfig((place / kConfigFile).string()));
  PolicyStore policies(config.config.policies, config.config.run.seed);
  RETURN_IF_ERROR(policies.Remake(frozen));
  ASSIGN_OR_RETURN(const Policy* policy, policies.Get(frozen.id));
  ASSIGN_OR_RETURN(const auto weights, policy->Weights());
  ASSIGN_OR_RETURN(LoadedModel loaded, FromWeights(*weights, placement));
  loaded.source = frozen.source;
  return loaded;
}

absl::StatusOr<LoadedModel> FromCheckpoint(const fs::path& place, const std::string& policy, Placement placement) {
  const CheckpointStore store(place.parent_path().string(), /*keep=*/2);
  ASSIGN_OR_RETURN(CheckpointStore::Loaded checkpoint, store.Load(place.filename().string()));
  ASSIGN_OR_RETURN(const Snapshot snapshot,
                   SnapshotFromFiles(std::make_shared<const CheckpointStore::Loaded>(std::move(checkpoint))));
  const std::vector<UntrainedPolicy>& frozen_policies = snapshot.state.frozen_policies;
  const bool only_one = policy.empty() && snapshot.policies.size() + frozen_policies.size() == 1;
  std::vector<std::string> names;
  for (const auto& weights : snapshot.policies) {
    names.push_back(weights->manifest().policy().policy_id());
    if (names.back() == policy || only_one) return FromWeights(*weights, placement);
  }
  for (const UntrainedPolicy& frozen : frozen_policies) {
    names.push_back(frozen.id);
    if (names.back() == policy || only_one) return FromFrozen(place, frozen, placement);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the checkpoint holds ", policy.empty() ? "several policies" : "no policy \"", policy,
                   policy.empty() ? "" : "\"", ": choose one of ", absl::StrJoin(names, ", "), " with --policy NAME"));
}

const char* RopeType(const RopeScaling& scaling) {
  switch (scaling.type) {
    case RopeScaling::Type::kDefault:
      return "default";
    case RopeScaling::Type::kLinear:
      return "linear";
    case RopeScaling::Type::kLlama3:
      return "llama3";
  }
  return "";
}

std::string TokenText(const LoadedModel& loaded, int64_t id) {
  if (id < 0) return "none";
  return absl::StrCat(id, " ", loaded.tokenizer->Decode({static_cast<uint32_t>(id)}));
}

// Name, value as JSON, and as text where that differs.
struct Row {
  std::string name;
  nlohmann::ordered_json value;
  std::string text;
};

std::vector<Row> Describe(const LoadedModel& loaded) {
  const ModelConfig& config = loaded.model->config();
  std::vector<std::string> ends;
  for (const int64_t id : config.eos_token_ids) ends.push_back(TokenText(loaded, id));
  std::vector<std::string> companions;
  for (const auto& [name, content] : loaded.companions) companions.push_back(name);
  return {
      {"family", config.family, ""},
      {"num_parameters", config.NumParameters(),
       absl::StrFormat("%.4g million", static_cast<double>(config.NumParameters()) / 1e6)},
      {"num_layers", config.num_layers, ""},
      {"hidden_size", config.hidden_size, ""},
      {"intermediate_size", config.intermediate_size, ""},
      {"num_heads", config.num_heads, ""},
      {"num_kv_heads", config.num_kv_heads, ""},
      {"head_dim", config.head_dim, ""},
      {"vocab_size", config.vocab_size, ""},
      {"tokenizer_vocab_size", loaded.tokenizer->vocab_size(), ""},
      {"max_positions", config.max_positions, ""},
      {"rope_theta", config.rope_theta, ""},
      {"rope_type", RopeType(config.rope_scaling), ""},
      {"tie_word_embeddings", config.tie_word_embeddings, ""},
      {"eos_token_ids", config.eos_token_ids, absl::StrJoin(ends, ", ")},
      {"pad_token_id", config.pad_token_id, TokenText(loaded, config.pad_token_id)},
      {"bos_token_id", config.bos_token_id < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(config.bos_token_id),
       TokenText(loaded, config.bos_token_id)},
      {"companions", companions, companions.empty() ? "none" : absl::StrJoin(companions, ", ")},
  };
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const std::string& folder, const std::string& policy, Placement placement) {
  ASSIGN_OR_RETURN(const Place place, FindPlace(folder, policy));
  auto loaded =
      place.checkpoint ? FromCheckpoint(place.path, policy, placement) : FromFolder(place.path.string(), placement);
  if (!loaded.ok()) return Annotate(loaded.status(), folder);
  ASSIGN_OR_RETURN(loaded->tokenizer, Tokenizer::FromJson(loaded->tokenizer_json));
  std::vector<std::string>& ignored = loaded->ignored;
  ignored.insert(ignored.end(), loaded->tokenizer->ignored().begin(), loaded->tokenizer->ignored().end());
  if (!ignored.empty()) std::cerr << "grpoctl: " << folder << ": ignored " << absl::StrJoin(ignored, "; ") << "\n";
  return loaded;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& folder, const std::string& policy) {
  ASSIGN_OR_RETURN(const Place place, FindPlace(folder, policy));
  if (place.checkpoint) {
    ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(folder, policy, {}));
    return std::move(loaded.tokenizer);
  }
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadTokenizerJson(place.path.string()));
  return Tokenizer::FromJson(tokenizer_json);
}

std::string ModelTable(const LoadedModel& loaded) {
  std::string table;
  for (const Row& row : Describe(loaded)) {
    const std::string value = row.value.is_string() ? row.value.get<std::string>() : row.value.dump();
    absl::StrAppendFormat(&table, "%-22s%s\n", row.name, row.text.empty() ? value : row.text);
  }
  return table;
}

std::string ModelJson(const LoadedModel& loaded) {
  nlohmann::ordered_json object;
  for (const Row& row : Describe(loaded)) object[row.name] = row.value;
  return absl::StrCat(object.dump(), "\n");
}

}  // namespace grpo
