#include "model/weights/live_weights.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/sha256.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/tensor.h"
#include "model/weights/manifest.h"
#include "model/weights/tensor_bytes.h"

namespace grpo {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
// What is converted at a time where a tensor is not float32 on the CPU already.
constexpr int64_t kChunkValues = int64_t{1} << 18;

// Values first .. first + count - 1 of the tensor, row-major, as float32 on the CPU: [count]. No copy where they lie so.
at::Tensor FloatValues(const at::Tensor& tensor, int64_t first, int64_t count) {
  return tensor.view({-1}).narrow(0, first, count).to(at::kCPU, at::kFloat);
}

std::string HashOf(const at::Tensor& tensor) {
  Sha256 hash;
  for (int64_t first = 0; first < tensor.numel(); first += kChunkValues)
    hash.Update(BytesOf(FloatValues(tensor, first, std::min(kChunkValues, tensor.numel() - first))));
  return hash.Finish();
}

// Bytes begin .. begin + out.size() - 1 of the tensor's values as float32.
void CopyOut(const at::Tensor& tensor, int64_t begin, absl::Span<char> out) {
  const int64_t end = begin + static_cast<int64_t>(out.size());
  for (int64_t at = begin; at < end;) {
    const int64_t first = at / kFloatBytes,
                  last = std::min((end + kFloatBytes - 1) / kFloatBytes, first + kChunkValues);
    const at::Tensor values = FloatValues(tensor, first, last - first);
    const int64_t skip = at - first * kFloatBytes, count = std::min(end, last * kFloatBytes) - at;
    std::memcpy(out.data() + (at - begin), BytesOf(values).data() + skip, static_cast<size_t>(count));
    at += count;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<LiveWeights>> LiveWeights::Of(const Transformer& model,
                                                             const std::string& tokenizer_json,
                                                             const v1::PolicyRef& policy,
                                                             const Companions& companions) {
  for (const auto& [name, content] : companions) RETURN_IF_ERROR(CheckCompanion(name, content));
  return TorchGuard([&]() -> absl::StatusOr<std::shared_ptr<LiveWeights>> {
    v1::WeightsManifest manifest;
    std::vector<Part> parts;
    int64_t offset = 0;
    // Says where a part lies, in its entry of the manifest.
    const auto add = [&](auto& entry, Part part) {
      entry.set_offset_bytes(offset);
      entry.set_num_bytes(part.num_bytes);
      entry.set_sha256(part.tensor.defined() ? HashOf(part.tensor) : Sha256Hex(part.text));
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
    const auto dtype = [](at::ScalarType type) {
      return type == at::kBFloat16 ? v1::DTYPE_BFLOAT16 : v1::DTYPE_FLOAT32;
    };
    manifest.set_compute_dtype(dtype(model.placement().compute));
    manifest.set_head_dtype(dtype(model.placement().head));
    add(*manifest.mutable_tokenizer(), text(tokenizer_json));
    for (const auto& [name, content] : companions) {
      v1::CompanionFile& companion = *manifest.add_companions();
      companion.set_name(name);
      add(*companion.mutable_content(), text(content));
    }
    for (auto& [name, tensor] : model.HuggingFaceTensors()) {
      v1::TensorEntry& entry = *manifest.add_tensors();
      entry.set_name(name);
      entry.set_dtype(v1::DTYPE_FLOAT32);
      for (const int64_t extent : tensor.sizes()) entry.add_shape(extent);
      add(entry, {.offset = 0, .num_bytes = tensor.numel() * kFloatBytes, .text = {}, .tensor = tensor});
    }
    manifest.set_payload_bytes(offset);
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
        CopyOut(part->tensor, begin, piece);
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
