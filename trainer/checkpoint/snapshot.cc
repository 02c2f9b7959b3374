#include "trainer/checkpoint/snapshot.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "model/tensor.h"
#include "model/weights/host_pieces.h"
#include "model/weights/safetensors.h"
#include "model/weights/tensor_bytes.h"
#include "model/weights/weight_set.h"

namespace grpo {
namespace {

constexpr char kOptimizerFile[] = "optimizer.safetensors";
// Of a payload, copied out of the policy and written at a time.
constexpr int64_t kChunkBytes = int64_t{1} << 20;

std::string PolicyFile(const std::string& id, absl::string_view extension) {
  return absl::StrCat("policy.", id, ".", extension);
}

absl::StatusOr<absl::string_view> Find(const CheckpointStore::Loaded& checkpoint, const std::string& name) {
  const auto file = checkpoint.files.find(name);
  if (file == checkpoint.files.end()) return absl::DataLossError(absl::StrCat("the checkpoint has no ", name));
  return file->second;
}

// Appends bytes begin .. end - 1 of the payload.
absl::Status AppendPayload(const WeightSource& weights, int64_t begin, int64_t end, FileContent::Append append) {
  ASSIGN_OR_RETURN(const WeightSource::Reader reader, weights.Open());
  std::string chunk;
  for (int64_t offset = begin; offset < end; offset += kChunkBytes) {
    chunk.resize(static_cast<size_t>(std::min(kChunkBytes, end - offset)));
    RETURN_IF_ERROR(reader.Read(offset, absl::MakeSpan(chunk)));
    RETURN_IF_ERROR(append(chunk));
  }
  return absl::OkStatus();
}

FileContent BlobContent(std::shared_ptr<const WeightSource> weights, const v1::BlobEntry& blob) {
  const int64_t begin = blob.offset_bytes(), end = begin + blob.num_bytes();
  return FileContent(FileContent::Write([weights = std::move(weights), begin, end](FileContent::Append append) {
    return AppendPayload(*weights, begin, end, append);
  }));
}

// The tensors as a safetensors file, in the payload's order.
FileContent TensorsContent(std::shared_ptr<const WeightSource> weights) {
  return FileContent(FileContent::Write([weights = std::move(weights)](FileContent::Append append) -> absl::Status {
    const v1::WeightsManifest& manifest = weights->manifest();
    std::vector<SafetensorsEntry> entries;
    int64_t begin = manifest.payload_bytes();
    for (const v1::TensorEntry& tensor : manifest.tensors()) {
      begin = std::min(begin, tensor.offset_bytes());
      entries.push_back({.name = tensor.name(),
                         .dtype = "F32",
                         .shape = {tensor.shape().begin(), tensor.shape().end()},
                         .bytes = {}});
    }
    // transformers asks for this key.
    RETURN_IF_ERROR(append(SafetensorsHeader(entries, {{"format", "pt"}})));
    return AppendPayload(*weights, begin, manifest.payload_bytes(), append);
  }));
}

FileContent OptimizerContent(std::map<std::string, at::Tensor> state) {
  return FileContent(FileContent::Write([state = std::move(state)](FileContent::Append append) -> absl::Status {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, tensor] : state)
      entries.push_back({.name = name, .dtype = "F32", .shape = tensor.sizes().vec(), .bytes = {}});
    RETURN_IF_ERROR(append(SafetensorsHeader(entries)));
    return TorchGuard([&]() -> absl::Status {
      for (const auto& [name, tensor] : state) RETURN_IF_ERROR(ForEachHostPiece(tensor, append));
      return absl::OkStatus();
    });
  }));
}

absl::Status AddPolicy(const std::shared_ptr<const WeightSource>& weights, CheckpointFiles& files) {
  const v1::WeightsManifest& manifest = weights->manifest();
  const std::string& id = manifest.policy().policy_id();
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(manifest, &text).ok()) {
    return absl::InternalError(absl::StrCat("the manifest of policy ", id, " cannot be written as JSON"));
  }
  files[PolicyFile(id, "json")] = text;
  files[PolicyFile(id, "tokenizer.json")] = BlobContent(weights, manifest.tokenizer());
  for (const v1::CompanionFile& companion : manifest.companions())
    files[PolicyFile(id, companion.name())] = BlobContent(weights, companion.content());
  files[PolicyFile(id, "safetensors")] = TensorsContent(weights);
  return absl::OkStatus();
}

// A policy whose payload lies in the files of a checkpoint, which it keeps mapped.
class SavedWeights final : public PayloadWeights {
 public:
  SavedWeights(v1::WeightsManifest manifest, std::vector<absl::string_view> pieces,
               std::shared_ptr<const CheckpointStore::Loaded> checkpoint)
      : PayloadWeights(std::move(manifest), std::move(pieces)), checkpoint_(std::move(checkpoint)) {}

 private:
  absl::Status Copy(int64_t offset, absl::Span<char> out) const override {
    RETURN_IF_ERROR(PayloadWeights::Copy(offset, out));
    return checkpoint_->Check();
  }
  const std::shared_ptr<const CheckpointStore::Loaded> checkpoint_;
};

absl::StatusOr<std::shared_ptr<const WeightSource>> FindPolicy(
    const std::shared_ptr<const CheckpointStore::Loaded>& checkpoint, const std::string& id) {
  ASSIGN_OR_RETURN(const absl::string_view text, Find(*checkpoint, PolicyFile(id, "json")));
  v1::WeightsManifest manifest;
  if (!google::protobuf::util::JsonStringToMessage(std::string(text), &manifest).ok()) {
    return absl::DataLossError(absl::StrCat(PolicyFile(id, "json"), " is not a weights manifest"));
  }
  std::vector<absl::string_view> pieces;
  ASSIGN_OR_RETURN(pieces.emplace_back(), Find(*checkpoint, PolicyFile(id, "tokenizer.json")));
  for (const v1::CompanionFile& companion : manifest.companions()) {
    ASSIGN_OR_RETURN(pieces.emplace_back(), Find(*checkpoint, PolicyFile(id, companion.name())));
  }
  ASSIGN_OR_RETURN(const absl::string_view tensors, Find(*checkpoint, PolicyFile(id, "safetensors")));
  ASSIGN_OR_RETURN(const std::vector<SafetensorsEntry> entries, ParseSafetensors(tensors));
  for (const SafetensorsEntry& entry : entries) pieces.push_back(entry.bytes);
  int64_t num_bytes = 0;
  for (const absl::string_view piece : pieces) num_bytes += static_cast<int64_t>(piece.size());
  if (num_bytes != manifest.payload_bytes()) {
    return absl::DataLossError(absl::StrCat(PolicyFile(id, "safetensors"), " and what travels with it have ", num_bytes,
                                            " bytes of payload, the manifest says ", manifest.payload_bytes()));
  }
  auto weights = std::make_shared<SavedWeights>(std::move(manifest), std::move(pieces), checkpoint);
  RETURN_IF_ERROR(Annotate(VerifyWeights(*weights), PolicyFile(id, "safetensors")));
  return weights;
}

absl::StatusOr<std::map<std::string, at::Tensor>> ReadOptimizer(absl::string_view buffer) {
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

absl::StatusOr<CheckpointFiles> SnapshotToFiles(const Snapshot& snapshot) {
  CheckpointFiles files;
  CheckpointState state = snapshot.state;
  state.policy_ids.clear();
  for (const std::shared_ptr<const WeightSource>& weights : snapshot.policies) {
    state.policy_ids.push_back(weights->manifest().policy().policy_id());
    RETURN_IF_ERROR(AddPolicy(weights, files));
  }
  if (!snapshot.optimizer.empty()) files[kOptimizerFile] = OptimizerContent(snapshot.optimizer);
  files[kConfigFile] = snapshot.resolved_yaml;
  files[kStateFile] = StateToJson(state);
  return files;
}

absl::StatusOr<Snapshot> SnapshotFromFiles(std::shared_ptr<const CheckpointStore::Loaded> checkpoint) {
  Snapshot snapshot;
  ASSIGN_OR_RETURN(const absl::string_view state, Find(*checkpoint, kStateFile));
  ASSIGN_OR_RETURN(snapshot.state, StateFromJson(state));
  ASSIGN_OR_RETURN(const absl::string_view config, Find(*checkpoint, kConfigFile));
  snapshot.resolved_yaml = std::string(config);
  for (const std::string& id : snapshot.state.policy_ids) {
    ASSIGN_OR_RETURN(snapshot.policies.emplace_back(), FindPolicy(checkpoint, id));
  }
  if (const auto optimizer = checkpoint->files.find(kOptimizerFile); optimizer != checkpoint->files.end()) {
    ASSIGN_OR_RETURN(snapshot.optimizer, ReadOptimizer(optimizer->second));
  }
  RETURN_IF_ERROR(checkpoint->Check());
  return snapshot;
}

}  // namespace grpo
