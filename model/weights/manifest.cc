#include "model/weights/manifest.h"

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "model/weights/companions.h"

namespace grpo {
namespace {

// Length before content, so that no two sequences of texts hash alike.
void HashText(Sha256& hash, absl::string_view text) {
  hash.Update(absl::StrCat(text.size(), ":"));
  hash.Update(text);
}

// nullopt when the shape has no size in bytes that fits int64.
std::optional<int64_t> BytesOfShape(const v1::TensorEntry& tensor) {
  int64_t num_bytes = ValueBytes(tensor);
  for (const int64_t extent : tensor.shape()) {
    if (extent < 0 || __builtin_mul_overflow(num_bytes, extent, &num_bytes)) return std::nullopt;
  }
  return num_bytes;
}

// Whether the blob begins at `offset` and ends within the payload.
bool IsAt(const v1::BlobEntry& blob, int64_t offset, int64_t payload_bytes) {
  return blob.offset_bytes() == offset && blob.num_bytes() >= 0 && blob.num_bytes() <= payload_bytes - offset;
}

// Checks the places of the parts that are no tensor. Returns where the tensors begin.
absl::StatusOr<int64_t> CheckBlobs(const v1::WeightsManifest& manifest) {
  if (!IsAt(manifest.tokenizer(), 0, manifest.payload_bytes()))
    return WeightsLost(manifest, "the tokenizer's place does not fit the payload");
  int64_t offset = manifest.tokenizer().num_bytes();
  absl::string_view previous;
  for (const v1::CompanionFile& companion : manifest.companions()) {
    if (!IsCompanionName(companion.name()) || companion.name() <= previous) {
      return WeightsLost(manifest, absl::StrCat("\"", companion.name(),
                                                "\" is not a file that travels with a model, or is out of order"));
    }
    const v1::BlobEntry& blob = companion.content();
    if (!IsAt(blob, offset, manifest.payload_bytes()) || blob.num_bytes() > kMaxCompanionBytes) {
      return WeightsLost(manifest, absl::StrCat(companion.name(), "'s size and place do not fit the payload"));
    }
    offset += blob.num_bytes();
    previous = companion.name();
  }
  return offset;
}

}  // namespace

std::string ManifestDigest(const v1::WeightsManifest& manifest) {
  Sha256 hash;
  HashText(hash, manifest.config_json());
  // Manifests of before name none and meant float32.
  if (manifest.compute_dtype() == v1::DTYPE_BFLOAT16) HashText(hash, v1::DType_Name(manifest.compute_dtype()));
  if (manifest.head_dtype() == v1::DTYPE_BFLOAT16 || manifest.head_dtype() == v1::DTYPE_TF32)
    HashText(hash, absl::StrCat("head ", v1::DType_Name(manifest.head_dtype())));
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

int64_t ValueBytes(const v1::TensorEntry& tensor) {
  return tensor.dtype() == v1::DTYPE_FLOAT32 ? 4 : tensor.dtype() == v1::DTYPE_BFLOAT16 ? 2 : 0;
}

absl::Status WeightsLost(const v1::WeightsManifest& manifest, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("weights of policy ", manifest.policy().policy_id(), " version ",
                                          manifest.policy().number(), ": ", what));
}

absl::Status CheckManifest(const v1::WeightsManifest& manifest) {
  if (manifest.kind() != v1::WEIGHTS_KIND_FULL)
    return WeightsLost(manifest, absl::StrCat("kind ", manifest.kind(), " is not known"));
  ASSIGN_OR_RETURN(int64_t offset, CheckBlobs(manifest));
  for (const v1::TensorEntry& tensor : manifest.tensors()) {
    if (ValueBytes(tensor) == 0)
      return WeightsLost(manifest, absl::StrCat(tensor.name(), " is neither float32 nor bfloat16"));
    const std::optional<int64_t> num_bytes = BytesOfShape(tensor);
    if (tensor.offset_bytes() != offset || num_bytes != tensor.num_bytes() ||
        *num_bytes > manifest.payload_bytes() - offset) {
      return WeightsLost(manifest, absl::StrCat(tensor.name(), "'s shape and place do not fit the payload"));
    }
    offset += *num_bytes;
  }
  if (offset != manifest.payload_bytes())
    return WeightsLost(manifest, "tokenizer, companions and tensors do not cover the payload");
  if (ManifestDigest(manifest) != manifest.digest())
    return WeightsLost(manifest, "the digest is not that of the content");
  return absl::OkStatus();
}

}  // namespace grpo
