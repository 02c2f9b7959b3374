#include "trainer/checkpoint/snapshot.h"

#include <ATen/ops/empty.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "model/weights/safetensors.h"
#include "model/weights/tensor_bytes.h"

namespace grpo {
namespace {

constexpr char kOptimizerFile[] = "optimizer.safetensors";

std::string PolicyFile(const std::string& id, absl::string_view extension) {
  return absl::StrCat("policy.", id, ".", extension);
}

absl::StatusOr<const std::string*> Find(const std::map<std::string, std::string>& files, const std::string& name) {
  const auto file = files.find(name);
  if (file == files.end()) return absl::DataLossError(absl::StrCat("the checkpoint has no ", name));
  return &file->second;
}

absl::Status AddPolicy(const WeightSet& weights, std::map<std::string, std::string>& files) {
  const std::string& id = weights.manifest.policy().policy_id();
  std::string manifest;
  if (!google::protobuf::util::MessageToJsonString(weights.manifest, &manifest).ok()) {
    return absl::InternalError(absl::StrCat("the manifest of policy ", id, " cannot be written as JSON"));
  }
  files[PolicyFile(id, "json")] = manifest;
  files[PolicyFile(id, "tokenizer.json")] = std::string(TokenizerJson(weights.manifest, weights.payload));
  for (const auto& [name, content] : CompanionsOf(weights.manifest, weights.payload)) {
    files[PolicyFile(id, name)] = content;
  }
  files[PolicyFile(id, "safetensors")] = SafetensorsOf(weights);
  return absl::OkStatus();
}

absl::StatusOr<WeightSet> ReadPolicy(const std::map<std::string, std::string>& files, const std::string& id) {
  ASSIGN_OR_RETURN(const std::string* manifest, Find(files, PolicyFile(id, "json")));
  ASSIGN_OR_RETURN(const std::string* tokenizer, Find(files, PolicyFile(id, "tokenizer.json")));
  ASSIGN_OR_RETURN(const std::string* buffer, Find(files, PolicyFile(id, "safetensors")));
  WeightSet weights{.manifest = {}, .payload = *tokenizer};
  if (!google::protobuf::util::JsonStringToMessage(*manifest, &weights.manifest).ok()) {
    return absl::DataLossError(absl::StrCat(PolicyFile(id, "json"), " is not a weights manifest"));
  }
  for (const v1::CompanionFile& companion : weights.manifest.companions()) {
    ASSIGN_OR_RETURN(const std::string* content, Find(files, PolicyFile(id, companion.name())));
    weights.payload += *content;
  }
  ASSIGN_OR_RETURN(const std::vector<SafetensorsEntry> entries, ParseSafetensors(*buffer));
  for (const SafetensorsEntry& entry : entries) weights.payload.append(entry.bytes.data(), entry.bytes.size());
  RETURN_IF_ERROR(Annotate(VerifyWeights(weights.manifest, weights.payload), PolicyFile(id, "safetensors")));
  return weights;
}

absl::StatusOr<std::map<std::string, at::Tensor>> ReadOptimizer(const std::string& buffer) {
  ASSIGN_OR_RETURN(const std::vector<SafetensorsEntry> entries, ParseSafetensors(buffer));
  std::map<std::string, at::Tensor> state;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.dtype != "F32")
      return absl::DataLossError(absl::StrCat(kOptimizerFile, " holds ", entry.name, " as ", entry.dtype, ", not F32"));
    at::Tensor tensor = at::empty(entry.shape, at::kFloat);
    CopyFromBytes(entry.bytes, at::kFloat, tensor);
    state[entry.name] = std::move(tensor);
  }
  return state;
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> SnapshotToFiles(const Snapshot& snapshot) {
  std::map<std::string, std::string> files;
  CheckpointState state = snapshot.state;
  state.policy_ids.clear();
  for (const WeightSet& weights : snapshot.policies) {
    state.policy_ids.push_back(weights.manifest.policy().policy_id());
    RETURN_IF_ERROR(AddPolicy(weights, files));
  }
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : snapshot.optimizer) {
    entries.push_back({.name = name, .dtype = "F32", .shape = tensor.sizes().vec(), .bytes = BytesOf(tensor)});
  }
  if (!entries.empty()) files[kOptimizerFile] = WriteSafetensors(entries);
  files[kConfigFile] = snapshot.resolved_yaml;
  files[kStateFile] = StateToJson(state);
  return files;
}

absl::StatusOr<Snapshot> SnapshotFromFiles(const std::map<std::string, std::string>& files) {
  Snapshot snapshot;
  ASSIGN_OR_RETURN(const std::string* state, Find(files, kStateFile));
  ASSIGN_OR_RETURN(snapshot.state, StateFromJson(*state));
  ASSIGN_OR_RETURN(const std::string* config, Find(files, kConfigFile));
  snapshot.resolved_yaml = *config;
  for (const std::string& id : snapshot.state.policy_ids) {
    ASSIGN_OR_RETURN(snapshot.policies.emplace_back(), ReadPolicy(files, id));
  }
  if (const auto optimizer = files.find(kOptimizerFile); optimizer != files.end()) {
    ASSIGN_OR_RETURN(snapshot.optimizer, ReadOptimizer(optimizer->second));
  }
  return snapshot;
}

}  // namespace grpo
