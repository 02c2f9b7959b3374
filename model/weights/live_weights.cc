#include "model/weights/live_weights.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "common/parallel.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/tensor.h"
#include "model/weights/host_pieces.h"
#include "model/weights/manifest.h"
#include "model/weights/tensor_bytes.h"

namespace grpo {
namespace {

// What is converted at a time: small enough to stay in the processor's cache until it is hashed or sent.
constexpr int64_t kChunkValues = int64_t{1} << 17;

// Whether a model keeps the tensor in Placement.storage: the layers' matrices, and nothing else.
bool IsKeptInStorage(absl::string_view name, const at::Tensor& tensor) {
  return tensor.dim() == 2 && absl::StartsWith(name, "model.layers.");
}

// Bytes begin .. begin + out.size() - 1 of the tensor's values in `dtype`.
void CopyOut(const at::Tensor& tensor, at::ScalarType dtype, int64_t begin, absl::Span<char> out) {
  const int64_t size = static_cast<int64_t>(c10::elementSize(dtype)), end = begin + static_cast<int64_t>(out.size());
  const int64_t value_bytes = static_cast<int64_t>(tensor.element_size());
  const char* const values = BytesOf(tensor).data();
  for (int64_t at = begin; at < end;) {
    const int64_t first = at / size, skip = at % size;
    char* const to = out.data() + (at - begin);
    if (skip == 0 && end - at >= size) {
      const int64_t count = (end - at) / size;
      CopyValues(values + first * value_bytes, tensor.scalar_type(), to, dtype, count);
      at += count * size;
    } else {
      // A value of which only a part is wanted.
      char value[sizeof(float)];
      CopyValues(values + first * value_bytes, tensor.scalar_type(), value, dtype, 1);
      const int64_t count = std::min(size - skip, end - at);
      std::memcpy(to, value + skip, static_cast<size_t>(count));
      at += count;
    }
  }
}

// What a part is read from: the model's own tensor on the CPU, which is rounded when it is read. Readers come at any
// time and ask for small pieces, for which a device would have to finish all that it was given before: of a tensor there
// it is a copy, rounded on the device to the same bits.
at::Tensor HostTensor(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.is_cpu() ? tensor.contiguous() : OnHost(tensor.to(dtype).contiguous());
}

std::string HashOf(const LiveWeights::Part& part) {
  if (!part.tensor.defined()) return Sha256Hex(part.text);
  Sha256 hash;
  if (part.tensor.scalar_type() == part.dtype) {
    hash.Update(BytesOf(part.tensor));
    return hash.Finish();
  }
  const int64_t chunk = kChunkValues * static_cast<int64_t>(c10::elementSize(part.dtype));
  std::string buffer(static_cast<size_t>(std::min(chunk, part.num_bytes)), '\0');
  for (int64_t begin = 0; begin < part.num_bytes; begin += chunk) {
    const absl::Span<char> bytes(buffer.data(), static_cast<size_t>(std::min(chunk, part.num_bytes - begin)));
    CopyOut(part.tensor, part.dtype, begin, bytes);
    hash.Update(absl::string_view(bytes.data(), bytes.size()));
  }
  return hash.Finish();
}

// The hash of each part. The largest are begun first, so that the threads end together.
absl::StatusOr<std::vector<std::string>> HashesOf(const std::vector<LiveWeights::Part>& parts, int64_t payload_bytes) {
  std::vector<size_t> order(parts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return parts[a].num_bytes > parts[b].num_bytes; });
  std::vector<std::string> hashes(parts.size());
  RETURN_IF_ERROR(
      RunParallel(ThreadsForBytes(payload_bytes), static_cast<int64_t>(parts.size()), [&](int64_t i) -> absl::Status {
        return TorchGuard([&] {
          hashes[order[i]] = HashOf(parts[order[i]]);
          return absl::OkStatus();
        });
      }));
  return hashes;
}

// What whoever samples with these weights computes in.
void SayDtypes(const Placement& placement, v1::WeightsManifest* manifest) {
  manifest->set_compute_dtype(placement.compute == at::kBFloat16 ? v1::DTYPE_BFLOAT16 : v1::DTYPE_FLOAT32);
  if (placement.head == at::kBFloat16) manifest->set_head_dtype(v1::DTYPE_BFLOAT16);
  if (placement.head_tf32) manifest->set_head_dtype(v1::DTYPE_TF32);
}

// Enters them, given in the order of the payload's parts.
void SetHashes(const std::vector<std::string>& hashes, v1::WeightsManifest& manifest) {
  auto hash = hashes.begin();
  manifest.mutable_tokenizer()->set_sha256(*hash++);
  for (v1::CompanionFile& companion : *manifest.mutable_companions()) companion.mutable_content()->set_sha256(*hash++);
  for (v1::TensorEntry& tensor : *manifest.mutable_tensors()) tensor.set_sha256(*hash++);
}

}  // namespace

absl::StatusOr<std::shared_ptr<LiveWeights>> LiveWeights::Of(const Transformer& model,
                                                             const std::string& tokenizer_json,
                                                             const v1::PolicyRef& policy, const Companions& companions,
                                                             WeightsForm form) {
  for (const auto& [name, content] : companions) RETURN_IF_ERROR(CheckCompanion(name, content));
  return TorchGuard([&]() -> absl::StatusOr<std::shared_ptr<LiveWeights>> {
    v1::WeightsManifest manifest;
    std::vector<Part> parts;
    int64_t offset = 0;
    // Says where a part lies, in its entry of the manifest.
    const auto add = [&](auto& entry, Part part) {
      entry.set_offset_bytes(offset);
      entry.set_num_bytes(part.num_bytes);
      part.offset = offset;
      offset += part.num_bytes;
      parts.push_back(std::move(part));
    };
    const auto text = [](const std::string& content) {
      return Part{.offset = 0, .num_bytes = static_cast<int64_t>(content.size()), .text = content, .tensor = {}};
    };
    *manifest.mutable_policy() = policy;
    manifest.set_kind(v1::WEIGHTS_KIND_FULL);
    manifest.set_config_json(ModelConfigJson(model.config()));
    SayDtypes(model.placement(), &manifest);
    const bool rounds = manifest.compute_dtype() == v1::DTYPE_BFLOAT16;
    add(*manifest.mutable_tokenizer(), text(tokenizer_json));
    for (const auto& [name, content] : companions) {
      v1::CompanionFile& companion = *manifest.add_companions();
      companion.set_name(name);
      add(*companion.mutable_content(), text(content));
    }
    for (auto& [name, tensor] : model.HuggingFaceTensors()) {
      const bool rounded = rounds && form == WeightsForm::kSampled && IsKeptInStorage(name, tensor);
      v1::TensorEntry& entry = *manifest.add_tensors();
      entry.set_name(name);
      entry.set_dtype(rounded ? v1::DTYPE_BFLOAT16 : v1::DTYPE_FLOAT32);
      for (const int64_t extent : tensor.sizes()) entry.add_shape(extent);
      add(entry, {.offset = 0,
                  .num_bytes = tensor.numel() * ValueBytes(entry),
                  .text = {},
                  .tensor = HostTensor(tensor, rounded ? at::kBFloat16 : at::kFloat),
                  .dtype = rounded ? at::kBFloat16 : at::kFloat});
    }
    manifest.set_payload_bytes(offset);
    ASSIGN_OR_RETURN(const std::vector<std::string> hashes, HashesOf(parts, offset));
    SetHashes(hashes, manifest);
    manifest.set_digest(ManifestDigest(manifest));
    return std::shared_ptr<LiveWeights>(new LiveWeights(std::move(manifest), std::move(parts)));
  });
}

absl::Status LiveWeights::Copy(int64_t offset, absl::Span<char> out) const {
  return TorchGuard([&]() -> absl::Status {
    const auto starts_after = [](int64_t at, const Part& part) { return at < part.offset + part.num_bytes; };
    auto part = std::upper_bound(parts_.begin(), parts_.end(), offset, starts_after);
    for (; !out.empty() && part != parts_.end(); ++part) {
      const int64_t begin = offset - part->offset;
      const absl::Span<char> piece = out.subspan(0, static_cast<size_t>(part->num_bytes - begin));
      if (part->tensor.defined()) {
        CopyOut(part->tensor, part->dtype, begin, piece);
      } else {
        std::memcpy(piece.data(), part->text.data() + begin, piece.size());
      }
      out.remove_prefix(piece.size());
      offset += static_cast<int64_t>(piece.size());
    }
    return absl::OkStatus();
  });
}

}  // namespace grpo
