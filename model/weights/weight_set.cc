#include "model/weights/weight_set.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "model/tensor.h"
#include "model/weights/safetensors.h"
#include "model/weights/tensor_bytes.h"

namespace grpo {
namespace {

// Length before content, so that no two sequences of texts hash alike.
void HashText(Sha256& hash, absl::string_view text) {
  hash.Update(absl::StrCat(text.size(), ":"));
  hash.Update(text);
}

std::string Digest(const v1::WeightsManifest& manifest) {
  Sha256 hash;
  HashText(hash, manifest.config_json());
  // Manifests of before name none and meant float32.
  if (manifest.compute_dtype() == v1::DTYPE_BFLOAT16) HashText(hash, v1::DType_Name(manifest.compute_dtype()));
  HashText(hash, manifest.tokenizer().sha256());
  for (const v1::CompanionFile& companion : manifest.companions()) {
    HashText(hash, companion.name());
    HashText(hash, companion.content().sha256());
  }
  for (const v1::TensorEntry& tensor : manifest.tensors()) {
    HashText(hash, tensor.name());
    HashText(hash, v1::DType_Name(tensor.dtype()));
    HashText(hash, absl::StrJoin(tensor.shape(), ","));
    HashText(hash, tensor.sha256());
  }
  return hash.Finish();
}

// nullopt when the shape has no size in bytes that fits int64.
std::optional<int64_t> FloatBytes(const v1::TensorEntry& tensor) {
  int64_t num_bytes = sizeof(float);
  for (const int64_t extent : tensor.shape()) {
    if (extent < 0 || __builtin_mul_overflow(num_bytes, extent, &num_bytes)) return std::nullopt;
  }
  return num_bytes;
}

// Appends the bytes to the payload and says where they are.
void AppendBlob(absl::string_view bytes, std::string& payload, v1::BlobEntry& entry) {
  entry.set_offset_bytes(static_cast<int64_t>(payload.size()));
  entry.set_num_bytes(static_cast<int64_t>(bytes.size()));
  entry.set_sha256(Sha256Hex(bytes));
  payload.append(bytes.data(), bytes.size());
}

// Whether the blob begins at `offset` and ends within the payload.
bool IsAt(const v1::BlobEntry& blob, int64_t offset, absl::string_view payload) {
  return blob.offset_bytes() == offset && blob.num_bytes() >= 0 &&
         blob.num_bytes() <= static_cast<int64_t>(payload.size()) - offset;
}

// Checks the parts that are no tensor. Returns where the tensors begin, or what is wrong as an InvalidArgument.
absl::StatusOr<int64_t> CheckBlobs(const v1::WeightsManifest& manifest, absl::string_view payload) {
  if (!IsAt(manifest.tokenizer(), 0, payload)) {
    return absl::InvalidArgumentError("the tokenizer's place does not fit the payload");
  }
  if (Sha256Hex(TokenizerJson(manifest, payload)) != manifest.tokenizer().sha256()) {
    return absl::InvalidArgumentError("the bytes of the tokenizer have another SHA-256 than the manifest says");
  }
  int64_t offset = manifest.tokenizer().num_bytes();
  absl::string_view previous;
  for (const v1::CompanionFile& companion : manifest.companions()) {
    if (!IsCompanionName(companion.name()) || companion.name() <= previous) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", companion.name(), "\" is not a file that travels with a model, or is out of order"));
    }
    const v1::BlobEntry& blob = companion.content();
    if (!IsAt(blob, offset, payload) || blob.num_bytes() > kMaxCompanionBytes) {
      return absl::InvalidArgumentError(absl::StrCat(companion.name(), "'s size and place do not fit the payload"));
    }
    if (Sha256Hex(payload.substr(offset, blob.num_bytes())) != blob.sha256()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the bytes of ", companion.name(), " have another SHA-256 than the manifest says"));
    }
    offset += blob.num_bytes();
    previous = companion.name();
  }
  return offset;
}

// Every tensor of the model must be in the manifest with its shape, and no other.
absl::Status CheckTensors(const v1::WeightsManifest& manifest, const NamedTensors& wanted) {
  std::map<std::string, const v1::TensorEntry*> given;
  for (const v1::TensorEntry& tensor : manifest.tensors()) {
    if (!given.emplace(tensor.name(), &tensor).second) {
      return absl::InvalidArgumentError(absl::StrCat("weights hold the tensor ", tensor.name(), " twice"));
    }
  }
  for (const auto& [name, tensor] : wanted) {
    const auto found = given.find(name);
    if (found == given.end()) return absl::InvalidArgumentError(absl::StrCat("weights lack the tensor ", name));
    const auto& shape = found->second->shape();
    RETURN_IF_ERROR(ExpectShape(tensor, std::vector<int64_t>(shape.begin(), shape.end()), name.c_str()));
    given.erase(found);
  }
  if (given.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("weights hold the tensor ", given.begin()->first, ", which this model has not"));
}

}  // namespace

absl::string_view TokenizerJson(const v1::WeightsManifest& manifest, absl::string_view payload) {
  return payload.substr(manifest.tokenizer().offset_bytes(), manifest.tokenizer().num_bytes());
}

Companions CompanionsOf(const v1::WeightsManifest& manifest, absl::string_view payload) {
  Companions companions;
  for (const v1::CompanionFile& companion : manifest.companions()) {
    const v1::BlobEntry& blob = companion.content();
    companions[companion.name()] = std::string(payload.substr(blob.offset_bytes(), blob.num_bytes()));
  }
  return companions;
}

std::string SafetensorsOf(const WeightSet& weights) {
  std::vector<SafetensorsEntry> entries;
  for (const v1::TensorEntry& tensor : weights.manifest.tensors()) {
    entries.push_back({.name = tensor.name(),
                       .dtype = "F32",
                       .shape = {tensor.shape().begin(), tensor.shape().end()},
                       .bytes = absl::string_view(weights.payload).substr(tensor.offset_bytes(), tensor.num_bytes())});
  }
  // transformers asks for this key.
  return WriteSafetensors(entries, {{"format", "pt"}});
}

absl::StatusOr<WeightSet> PackWeights(const Transformer& model, const std::string& tokenizer_json,
                                      const v1::PolicyRef& policy, const Companions& companions) {
  for (const auto& [name, content] : companions) RETURN_IF_ERROR(CheckCompanion(name, content));
  return TorchGuard([&]() -> absl::StatusOr<WeightSet> {
    WeightSet weights;
    *weights.manifest.mutable_policy() = policy;
    weights.manifest.set_kind(v1::WEIGHTS_KIND_FULL);
    weights.manifest.set_config_json(ModelConfigJson(model.config()));
    weights.manifest.set_compute_dtype(model.precision().compute == at::kBFloat16 ? v1::DTYPE_BFLOAT16
                                                                                  : v1::DTYPE_FLOAT32);
    size_t num_bytes = tokenizer_json.size() + model.config().NumParameters() * sizeof(float);
    for (const auto& [name, content] : companions) num_bytes += content.size();
    weights.payload.reserve(num_bytes);
    AppendBlob(tokenizer_json, weights.payload, *weights.manifest.mutable_tokenizer());
    for (const auto& [name, content] : companions) {
      v1::CompanionFile& companion = *weights.manifest.add_companions();
      companion.set_name(name);
      AppendBlob(content, weights.payload, *companion.mutable_content());
    }
    for (const auto& [name, stored] : model.HuggingFaceTensors()) {
      const at::Tensor tensor = stored.to(at::kFloat).contiguous();
      const absl::string_view bytes = BytesOf(tensor);
      v1::TensorEntry& entry = *weights.manifest.add_tensors();
      entry.set_name(name);
      entry.set_dtype(v1::DTYPE_FLOAT32);
      for (const int64_t extent : tensor.sizes()) entry.add_shape(extent);
      entry.set_offset_bytes(static_cast<int64_t>(weights.payload.size()));
      entry.set_num_bytes(static_cast<int64_t>(bytes.size()));
      entry.set_sha256(Sha256Hex(bytes));
      weights.payload.append(bytes.data(), bytes.size());
    }
    weights.manifest.set_payload_bytes(static_cast<int64_t>(weights.payload.size()));
    weights.manifest.set_digest(Digest(weights.manifest));
    return weights;
  });
}

absl::Status VerifyWeights(const v1::WeightsManifest& manifest, absl::string_view payload) {
  const auto lost = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("weights of policy ", manifest.policy().policy_id(), " version ",
                                            manifest.policy().number(), ": ", what));
  };
  if (manifest.kind() != v1::WEIGHTS_KIND_FULL) return lost(absl::StrCat("kind ", manifest.kind(), " is not known"));
  if (manifest.payload_bytes() != static_cast<int64_t>(payload.size())) {
    return lost(
        absl::StrCat("the payload has ", payload.size(), " bytes, the manifest says ", manifest.payload_bytes()));
  }
  const absl::StatusOr<int64_t> first = CheckBlobs(manifest, payload);
  if (!first.ok()) return lost(first.status().message());
  int64_t offset = *first;
  for (const v1::TensorEntry& tensor : manifest.tensors()) {
    if (tensor.dtype() != v1::DTYPE_FLOAT32) return lost(absl::StrCat(tensor.name(), " is not float32"));
    const std::optional<int64_t> num_bytes = FloatBytes(tensor);
    if (tensor.offset_bytes() != offset || num_bytes != tensor.num_bytes() ||
        *num_bytes > static_cast<int64_t>(payload.size()) - offset) {
      return lost(absl::StrCat(tensor.name(), "'s shape and place do not fit the payload"));
    }
    if (Sha256Hex(payload.substr(offset, *num_bytes)) != tensor.sha256()) {
      return lost(absl::StrCat("the bytes of ", tensor.name(), " have another SHA-256 than the manifest says"));
    }
    offset += *num_bytes;
  }
  if (offset != manifest.payload_bytes()) return lost("tokenizer, companions and tensors do not cover the payload");
  if (Digest(manifest) != manifest.digest()) return lost("the digest is not that of the content");
  return absl::OkStatus();
}

absl::Status LoadWeights(const v1::WeightsManifest& manifest, absl::string_view payload, Transformer& model) {
  RETURN_IF_ERROR(VerifyWeights(manifest, payload));
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(manifest.config_json()));
  // Written anew, because differences of spelling mean nothing, while a different rope_theta fits every shape.
  if (ModelConfigJson(config) != ModelConfigJson(model.config())) {
    return absl::InvalidArgumentError(
        "the weights' config.json describes another model than the one they are loaded into");
  }
  return TorchGuard([&]() -> absl::Status {
    const NamedTensors tensors = model.HuggingFaceTensors();
    RETURN_IF_ERROR(CheckTensors(manifest, tensors));
    std::map<std::string, int64_t> offsets;
    for (const v1::TensorEntry& entry : manifest.tensors()) offsets[entry.name()] = entry.offset_bytes();
    for (const auto& [name, tensor] : tensors) {
      CopyFromBytes(payload.substr(offsets.at(name), tensor.numel() * sizeof(float)), at::kFloat, tensor);
    }
    return absl::OkStatus();
  });
}

at::ScalarType ComputeDtype(const v1::WeightsManifest& manifest) {
  return manifest.compute_dtype() == v1::DTYPE_BFLOAT16 ? at::kBFloat16 : at::kFloat;
}

absl::StatusOr<std::unique_ptr<Transformer>> MakeModel(const v1::WeightsManifest& manifest, absl::string_view payload,
                                                       Precision precision) {
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(manifest.config_json()));
  const int64_t expected_bytes = config.NumParameters() * static_cast<int64_t>(sizeof(float));
  int64_t tensor_bytes = static_cast<int64_t>(payload.size()) - manifest.tokenizer().num_bytes();
  for (const v1::CompanionFile& companion : manifest.companions()) tensor_bytes -= companion.content().num_bytes();
  if (expected_bytes != tensor_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the weights have ", tensor_bytes, " bytes, but config.json describes a model of ",
                     config.NumParameters(), " float32 parameters, ", expected_bytes, " bytes"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Transformer> model, Transformer::Create(config, precision));
  RETURN_IF_ERROR(LoadWeights(manifest, payload, *model));
  return model;
}

}  // namespace grpo
