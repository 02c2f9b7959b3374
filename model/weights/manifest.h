// What a weights manifest says, checked before any of the bytes that it describes are read. Links no torch.
//
//   payload    tokenizer.json | companions, in the order of their names | tensors, in the manifest's order
//   digest     over the SHA-256 of each of these parts, and what else the manifest says of them (ManifestDigest)
#ifndef GRPO_MODEL_WEIGHTS_MANIFEST_H_
#define GRPO_MODEL_WEIGHTS_MANIFEST_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/types.pb.h"

namespace grpo {

// What WeightsManifest.digest is to be. SHA-256 in hex of configuration, compute dtype and the hashes of all parts,
// with the tensors' names and shapes; neither policy nor number is in it, so equal weights have equal digests.
std::string ManifestDigest(const v1::WeightsManifest& manifest);

// DataLoss with the policy's name and version, for what is wrong with the manifest or with its bytes.
absl::Status WeightsLost(const v1::WeightsManifest& manifest, absl::string_view what);

// Bytes of one value of the tensor; 0 for a dtype that weights have not. Pure.
int64_t ValueBytes(const v1::TensorEntry& tensor);

// WeightsLost unless its parts tile the payload, its companions are files that there are, its tensors are float32 or
// bfloat16 of their shapes, and the digest is that of all this. Reads no byte of the payload.
absl::Status CheckManifest(const v1::WeightsManifest& manifest);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_MANIFEST_H_
