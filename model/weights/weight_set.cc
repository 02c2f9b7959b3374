#include "model/weights/weight_set.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/parallel.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/tensor.h"
#include "model/weights/live_weights.h"
#include "model/weights/manifest.h"
#include "model/weights/tensor_bytes.h"

namespace grpo {
namespace {

// Read and hashed at a time: small enough to stay in the processor's cache between the two.
constexpr int64_t kChunkValues = int64_t{1} << 17;

// What there is in place of bytes that another SHA-256 was expected of.
absl::Status Damaged(const v1::WeightsManifest& manifest, absl::string_view what) {
  return WeightsLost(manifest, absl::StrCat("the bytes of ", what, " have another SHA-256 than the manifest says"));
}

absl::StatusOr<std::string> ReadBlob(const WeightSource::Reader& reader, const v1::BlobEntry& blob,
                                     const v1::WeightsManifest& manifest, absl::string_view what) {
  std::string content(static_cast<size_t>(blob.num_bytes()), '\0');
  RETURN_IF_ERROR(reader.Read(blob.offset_bytes(), absl::MakeSpan(content)));
  if (Sha256Hex(content) != blob.sha256()) return Damaged(manifest, what);
  return content;
}

at::ScalarType DtypeOf(const v1::TensorEntry& entry) {
  return entry.dtype() == v1::DTYPE_BFLOAT16 ? at::kBFloat16 : at::kFloat;
}

// Copies a tensor of the payload into `target`, of as many values; an undefined target takes nothing. Verifies it.
absl::Status ReadTensor(const WeightSource::Reader& reader, const v1::TensorEntry& entry,
                        const v1::WeightsManifest& manifest, const at::Tensor& target) {
  if (target.defined() && !target.is_cpu()) {
    // One tensor a thread is on the host at a time; what is damaged does not come to the device.
    const at::Tensor host = at::empty(target.sizes(), target.scalar_type());
    RETURN_IF_ERROR(ReadTensor(reader, entry, manifest, host));
    target.copy_(host);
    return absl::OkStatus();
  }
  const bool straight = target.defined() && target.scalar_type() == DtypeOf(entry);
  const int64_t value_bytes = ValueBytes(entry), num_values = entry.num_bytes() / value_bytes;
  const size_t target_bytes = target.defined() ? target.element_size() : 0;
  char* const values = target.defined() ? static_cast<char*>(target.mutable_data_ptr()) : nullptr;
  std::vector<char> buffer(straight ? 0 : static_cast<size_t>(std::min(num_values, kChunkValues) * value_bytes));
  Sha256 hash;
  for (int64_t first = 0; first < num_values; first += kChunkValues) {
    const int64_t count = std::min(kChunkValues, num_values - first);
    char* const to = values + first * target_bytes;
    const absl::Span<char> bytes(straight ? to : buffer.data(), static_cast<size_t>(count * value_bytes));
    RETURN_IF_ERROR(reader.Read(entry.offset_bytes() + first * value_bytes, bytes));
    hash.Update(absl::string_view(bytes.data(), bytes.size()));
    if (target.defined() && !straight) CopyValues(bytes.data(), DtypeOf(entry), to, target.scalar_type(), count);
  }
  return hash.Finish() == entry.sha256() ? absl::OkStatus() : Damaged(manifest, entry.name());
}

// The same into a tensor on any device, by way of the host. Only what was verified reaches a device.
absl::Status ReadTo(const WeightSource::Reader& reader, const v1::TensorEntry& entry,
                    const v1::WeightsManifest& manifest, const at::Tensor& target) {
  if (!target.defined() || target.is_cpu()) return ReadTensor(reader, entry, manifest, target);
  const at::Tensor host = at::empty(target.sizes(), target.scalar_type());
  RETURN_IF_ERROR(ReadTensor(reader, entry, manifest, host));
  target.copy_(host);
  return absl::OkStatus();
}

// Reads and verifies all of the source, on the process's threads; tensors go where `targets` says, by name, or nowhere
// when it is null. They are contiguous.
absl::StatusOr<MadePolicy> ReadAll(const WeightSource& source, const std::map<std::string, at::Tensor>* targets) {
  const v1::WeightsManifest& manifest = source.manifest();
  RETURN_IF_ERROR(CheckManifest(manifest));
  ASSIGN_OR_RETURN(const WeightSource::Reader reader, source.Open());
  MadePolicy made;
  ASSIGN_OR_RETURN(made.tokenizer_json, ReadBlob(reader, manifest.tokenizer(), manifest, "the tokenizer"));
  for (const v1::CompanionFile& companion : manifest.companions()) {
    ASSIGN_OR_RETURN(made.companions[companion.name()],
                     ReadBlob(reader, companion.content(), manifest, companion.name()));
  }
  std::vector<const v1::TensorEntry*> entries;
  for (const v1::TensorEntry& entry : manifest.tensors()) entries.push_back(&entry);
  // The largest are begun first, so that the threads end together.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const v1::TensorEntry* a, const v1::TensorEntry* b) { return a->num_bytes() > b->num_bytes(); });
  RETURN_IF_ERROR(RunParallel(
      ThreadsForBytes(manifest.payload_bytes()), static_cast<int64_t>(entries.size()), [&](int64_t i) -> absl::Status {
        return TorchGuard([&] {
          return ReadTo(reader, *entries[i], manifest, targets ? targets->at(entries[i]->name()) : at::Tensor());
        });
      }));
  return made;
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

// Reads into the model, of the manifest's architecture.
absl::StatusOr<MadePolicy> ReadTensors(const WeightSource& source, const Transformer& model) {
  return TorchGuard([&]() -> absl::StatusOr<MadePolicy> {
    const NamedTensors tensors = model.HuggingFaceTensors();
    RETURN_IF_ERROR(CheckTensors(source.manifest(), tensors));
    const std::map<std::string, at::Tensor> targets(tensors.begin(), tensors.end());
    return ReadAll(source, &targets);
  });
}

// A few bytes of config.json can describe any size. The manifest is not checked yet.
absl::Status CheckSize(const v1::WeightsManifest& manifest, const ModelConfig& config) {
  int64_t num_values = 0;
  bool fits = true;
  for (const v1::TensorEntry& tensor : manifest.tensors()) {
    const int64_t value_bytes = ValueBytes(tensor);
    fits = fits && value_bytes > 0 &&
           !__builtin_add_overflow(num_values, tensor.num_bytes() / value_bytes, &num_values) &&
           tensor.num_bytes() >= 0 && tensor.num_bytes() <= manifest.payload_bytes();
  }
  if (fits && num_values == config.NumParameters()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the weights have ", num_values,
                                                 " numbers, but config.json describes a model of ",
                                                 config.NumParameters(), " parameters"));
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

absl::Status PayloadWeights::Copy(int64_t offset, absl::Span<char> out) const {
  size_t begin = static_cast<size_t>(offset);
  for (const absl::string_view piece : pieces_) {
    if (out.empty()) break;
    if (begin >= piece.size()) {
      begin -= piece.size();
      continue;
    }
    out.remove_prefix(piece.copy(out.data(), out.size(), begin));
    begin = 0;
  }
  if (out.empty()) return absl::OkStatus();
  return WeightsLost(manifest(), absl::StrCat("the payload ends ", out.size(), " bytes too early"));
}

absl::StatusOr<WeightSet> PackWeights(const Transformer& model, const std::string& tokenizer_json,
                                      const v1::PolicyRef& policy, const Companions& companions, WeightsForm form) {
  ASSIGN_OR_RETURN(const auto live, LiveWeights::Of(model, tokenizer_json, policy, companions, form));
  ASSIGN_OR_RETURN(const WeightSource::Reader reader, live->Open());
  WeightSet weights{.manifest = live->manifest(), .payload = {}};
  weights.payload.resize(static_cast<size_t>(live->manifest().payload_bytes()));
  RETURN_IF_ERROR(reader.Read(0, absl::MakeSpan(weights.payload)));
  return weights;
}

absl::Status VerifyWeights(const WeightSource& source) {
  return ReadAll(source, nullptr).status();
}

absl::Status VerifyWeights(const v1::WeightsManifest& manifest, absl::string_view payload) {
  if (manifest.kind() == v1::WEIGHTS_KIND_FULL && manifest.payload_bytes() != static_cast<int64_t>(payload.size())) {
    return WeightsLost(manifest, absl::StrCat("the payload has ", payload.size(), " bytes, the manifest says ",
                                              manifest.payload_bytes()));
  }
  return VerifyWeights(PayloadWeights(manifest, {payload}));
}

Placement PlacementOf(const v1::WeightsManifest& manifest, at::Device device) {
  const auto dtype = [](v1::DType named) { return named == v1::DTYPE_BFLOAT16 ? at::kBFloat16 : at::kFloat; };
  return {.device = device,
          .compute = dtype(manifest.compute_dtype()),
          .head = dtype(manifest.head_dtype()),
          .head_tf32 = manifest.head_dtype() == v1::DTYPE_TF32};
}

bool SameModel(const v1::WeightsManifest& a, const v1::WeightsManifest& b) {
  const Placement of_a = PlacementOf(a), of_b = PlacementOf(b);
  return a.config_json() == b.config_json() && of_a.compute == of_b.compute && of_a.head == of_b.head &&
         of_a.head_tf32 == of_b.head_tf32;
}

absl::StatusOr<MadePolicy> ReadPolicy(const WeightSource& source, Placement placement) {
  const v1::WeightsManifest& manifest = source.manifest();
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(manifest.config_json()));
  RETURN_IF_ERROR(CheckSize(manifest, config));
  ASSIGN_OR_RETURN(std::unique_ptr<Transformer> model, Transformer::Create(config, placement));
  ASSIGN_OR_RETURN(MadePolicy made, ReadTensors(source, *model));
  made.model = std::move(model);
  return made;
}

absl::StatusOr<MadePolicy> ReadInto(const WeightSource& source, Transformer& model) {
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(source.manifest().config_json()));
  if (ModelConfigJson(config) != ModelConfigJson(model.config())) {
    return absl::InvalidArgumentError("the weights are of another architecture than the model");
  }
  return ReadTensors(source, model);
}

absl::StatusOr<std::unique_ptr<Transformer>> MakeModel(const v1::WeightsManifest& manifest, absl::string_view payload,
                                                       Placement placement) {
  if (manifest.payload_bytes() != static_cast<int64_t>(payload.size())) {
    return WeightsLost(manifest, absl::StrCat("the payload has ", payload.size(), " bytes, the manifest says ",
                                              manifest.payload_bytes()));
  }
  ASSIGN_OR_RETURN(MadePolicy made, ReadPolicy(PayloadWeights(manifest, {payload}), placement));
  return std::move(made.model);
}

}  // namespace grpo
