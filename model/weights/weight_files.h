// The files of a model's folder that hold its weights, mapped and checked against each other. Links no torch.
#ifndef GRPO_MODEL_WEIGHTS_WEIGHT_FILES_H_
#define GRPO_MODEL_WEIGHTS_WEIGHT_FILES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/mapped_file.h"
#include "model/config.h"
#include "model/weights/safetensors.h"

namespace grpo {

// config.json, tokenizer.json or another text of a folder; the largest tokenizers have some 35 MB. Errors of ReadFile;
// InvalidArgument for a file that something else was downloaded in place of, which is named.
inline constexpr int64_t kMaxConfigBytes = int64_t{16} << 20, kMaxTokenizerBytes = int64_t{256} << 20;
absl::StatusOr<std::string> ReadModelFile(const std::string& folder, const std::string& name, int64_t max_bytes);

// Names as transformers gives them.
inline constexpr char kWeightsFile[] = "model.safetensors";
inline constexpr char kWeightsIndexFile[] = "model.safetensors.index.json";
// model-00001-of-00002.safetensors; what begins and ends like this is a shard.
inline constexpr char kShardPrefix[] = "model-", kShardSuffix[] = ".safetensors";
// Of the shard with this number, from 0, among `count`.
std::string ShardName(size_t number, size_t count);

// model.safetensors.index.json.
struct ShardIndex {
  // Tensor -> the file that holds it.
  std::map<std::string, std::string> weight_map;
  // Of all tensors, as metadata.total_size says.
  std::optional<int64_t> total_bytes;
};

// InvalidArgument, named, for what is not an object with a weight_map of texts, and for a file that does not lie in the
// folder itself or is no .safetensors.
absl::StatusOr<ShardIndex> ParseShardIndex(absl::string_view index_json);

// A mapped file and what it holds. Whoever copies out of it asks file->Check() before the copy is used.
struct WeightFile {
  std::unique_ptr<MappedFile> file;
  // Views into it, in the order of the data.
  std::vector<SafetensorsEntry> entries;
};

// model.safetensors; where there is none, the shards that the index names; where there is none either, all
// model-*.safetensors (transformers goes by the same order, and knows only the first two). Each tensor lies in one
// file, the one that the index names. NotFound for a missing file; InvalidArgument for what does not fit, named; errors
// of MappedFile. `ignored` gets a phrase when total_size is not the tensors' sum, which many writers get wrong. In the
// order of the files' names; `folder` names the folder in messages.
absl::StatusOr<std::vector<WeightFile>> OpenWeightFiles(const std::string& folder,
                                                        std::vector<std::string>* ignored = nullptr);

// InvalidArgument when the files hold too little for the model: a few bytes of config.json can describe any size. A
// parameter has two bytes at least; the rest is slack, so that who reads the tensors can name what is missing from a
// smaller difference.
absl::Status CheckWeightsSize(const ModelConfig& config, const std::vector<WeightFile>& files);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_WEIGHT_FILES_H_
