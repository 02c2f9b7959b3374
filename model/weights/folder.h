// Hugging Face folders: config.json, tokenizer.json, weights in safetensors, and the companions.
#ifndef GRPO_MODEL_WEIGHTS_FOLDER_H_
#define GRPO_MODEL_WEIGHTS_FOLDER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/transformer.h"
#include "model/weights/companions.h"
#include "proto/types.pb.h"

namespace grpo {

// The folder's tokenizer.json, not parsed. Errors of ReadFile. InvalidArgument for a Git LFS pointer, a web page or an
// archive in its place.
absl::StatusOr<std::string> ReadTokenizerJson(const std::string& folder);

// A model and what its folder holds beside it.
struct LoadedFolder {
  std::unique_ptr<Transformer> model;
  // As it stands in the folder; Tokenizer::FromJson has not seen it.
  std::string tokenizer_json;
  Companions companions;
  // What the folder holds and is not used, or asks for and is not done, a phrase each; for one line of the log.
  std::vector<std::string> ignored;
};

// A model of the folder's config.json, and of the further end tokens of its generation_config.json, with the folder's
// weights (OpenWeightFiles says which), which are mapped and copied straight into the model; float32, bfloat16 and
// float16 are converted to what the model keeps. Everything is checked before the model is made, and none is made that
// is much larger than the files warrant. Where config.json ties the head to the embedding and the files hold another
// head, that head counts, as in transformers 5. Buffers that are computed anew (rotary_emb.inv_freq) are left out.
// NotFound for a missing file; InvalidArgument for one that does not fit, and for a tensor that is missing, unexpected,
// of another shape, or holds an infinity or NaN; DataLoss when a file changed meanwhile. Unimplemented for a device
// that this build cannot compute on. The files are unmapped when it returns.
absl::StatusOr<LoadedFolder> LoadFolder(const std::string& folder, Placement placement = {});

struct ExportOptions {
  // DTYPE_FLOAT32 or DTYPE_BFLOAT16; of every tensor.
  v1::DType dtype = v1::DTYPE_FLOAT32;
  // More than this goes into several files with an index, as transformers shards; a tensor is never split.
  int64_t max_shard_bytes = 5'000'000'000;
};

// Writes a folder that transformers loads, and LoadFolder, bit for bit where the dtype is the model's. config.json is
// ModelConfigJson with the dtype written in. Tensor by tensor: needs memory for the largest only, and that only to
// convert it. Written beside and renamed into place; an earlier export is replaced. FailedPrecondition when the folder
// holds anything else, which is then left alone. InvalidArgument for another dtype or a companion that is none;
// ErrnoStatus's codes for the disk. Without a companion tokenizer_config.json one is written, for which tokenizer_json
// must be one that Tokenizer::FromJson reads. A crash leaves the old export, the new one, or, between two renames, the
// old one beside its place. The weights must not change meanwhile. Blocks until all is on disk.
absl::Status ExportFolder(const Transformer& model, const std::string& tokenizer_json, const Companions& companions,
                          const std::string& folder, const ExportOptions& options = {});

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_FOLDER_H_
