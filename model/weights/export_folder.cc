#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/tensor.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/folder.h"
#include "model/weights/host_pieces.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr char kConfigFile[] = "config.json", kTokenizerFile[] = "tokenizer.json";
constexpr char kTokenizerConfigFile[] = "tokenizer_config.json";

// The names of a dtype: torch's, safetensors', transformers'.
struct ExportDtype {
  at::ScalarType torch;
  const char *safetensors, *config;
};

absl::StatusOr<ExportDtype> FindDtype(v1::DType dtype) {
  if (dtype == v1::DTYPE_FLOAT32) return ExportDtype{at::kFloat, "F32", "float32"};
  if (dtype == v1::DTYPE_BFLOAT16) return ExportDtype{at::kBFloat16, "BF16", "bfloat16"};
  return absl::InvalidArgumentError(
      absl::StrCat("weights cannot be exported as ", v1::DType_Name(dtype), ", only as float32 or bfloat16"));
}

// config.json, which says what the weights are. transformers 4 calls it torch_dtype, transformers 5 dtype, and each
// reads the other's.
std::string ConfigJson(const ModelConfig& config, const char* dtype) {
  auto json = nlohmann::ordered_json::parse(ModelConfigJson(config));
  json["torch_dtype"] = dtype;
  return json.dump(2) + "\n";
}

// What transformers wants beside tokenizer.json to load it as it is, by PreTrainedTokenizerFast. (AutoTokenizer of
// transformers 5 puts Qwen2's byte-level pipeline in the place of the file's own whenever model_type is qwen2; no field
// here prevents it.)
absl::StatusOr<std::string> TokenizerConfigJson(const ModelConfig& config, const std::string& tokenizer_json) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(tokenizer_json));
  const auto token = [&](int64_t id) { return tokenizer->Decode({static_cast<uint32_t>(id)}); };
  const nlohmann::json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                               {"eos_token", token(config.eos_token_ids.front())},
                               {"pad_token", token(config.pad_token_id)},
                               {"model_max_length", config.max_positions},
                               {"clean_up_tokenization_spaces", false}};
  return json.dump(2) + "\n";
}

// Whether an export may have written a file of this name.
bool IsOurs(const std::string& name) {
  static const auto* const kNames =
      new std::set<std::string>{kConfigFile, kTokenizerFile, kTokenizerConfigFile, kWeightsFile, kWeightsIndexFile};
  return kNames->contains(name) || IsCompanionName(name) ||
         (absl::StartsWith(name, kShardPrefix) && absl::EndsWith(name, kShardSuffix));
}

// OK when the folder is not there, or holds nothing but what an export writes.
absl::Status CheckReplaceable(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!IsOurs(name)) {
      return absl::FailedPreconditionError(absl::StrCat(folder.string(), " is not replaced, because it holds ", name,
                                                        ", which no export writes: choose another folder"));
    }
  }
  if (!error || error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  return ErrnoStatus(error.value(), "read folder", folder.string());
}

// Puts `written` where `folder` is. Two renames where an older export has to leave first: a crash between them leaves
// it beside.
absl::Status MoveIntoPlace(const fs::path& written, const fs::path& folder) {
  RETURN_IF_ERROR(CheckReplaceable(folder));
  const fs::path replaced = folder.string() + absl::StrCat(".replaced.", ::getpid());
  std::error_code error;
  if (fs::exists(folder, error)) fs::rename(folder, replaced, error);
  if (!error) fs::rename(written, folder, error);
  if (error) return ErrnoStatus(error.value(), "rename to", folder.string());
  fs::remove_all(replaced, error);
  return SyncFolder(folder.parent_path().string());
}

// The tensors of one file, in order.
struct Shard {
  NamedTensors tensors;
  int64_t num_bytes = 0;
};

// As transformers does it: a file is full when the next tensor would make it too large.
std::vector<Shard> Split(const NamedTensors& tensors, at::ScalarType dtype, int64_t max_shard_bytes) {
  std::vector<Shard> shards(1);
  for (const auto& [name, tensor] : tensors) {
    const int64_t num_bytes = tensor.numel() * static_cast<int64_t>(c10::elementSize(dtype));
    if (!shards.back().tensors.empty() && shards.back().num_bytes + num_bytes > max_shard_bytes) shards.emplace_back();
    shards.back().tensors.emplace_back(name, tensor);
    shards.back().num_bytes += num_bytes;
  }
  return shards;
}

absl::Status WriteShard(const Shard& shard, const ExportDtype& dtype, const std::string& path) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : shard.tensors) {
    entries.push_back({.name = name, .dtype = dtype.safetensors, .shape = tensor.sizes().vec(), .bytes = {}});
  }
  ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(path));
  // transformers asks for this key.
  RETURN_IF_ERROR(writer.Append(SafetensorsHeader(entries, {{"format", "pt"}})));
  for (const auto& [name, tensor] : shard.tensors) {
    // No copy where the model keeps it so, here.
    RETURN_IF_ERROR(ForEachHostPiece(tensor.to(dtype.torch).contiguous(),
                                     [&](absl::string_view bytes) { return writer.Append(bytes); }));
  }
  return writer.Finish();
}

absl::Status WriteTensors(const NamedTensors& tensors, const ExportDtype& dtype, int64_t max_shard_bytes,
                          const std::string& folder) {
  const std::vector<Shard> shards = Split(tensors, dtype.torch, max_shard_bytes);
  if (shards.size() == 1) return WriteShard(shards[0], dtype, absl::StrCat(folder, "/", kWeightsFile));
  nlohmann::ordered_json weight_map;
  int64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = ShardName(i, shards.size());
    RETURN_IF_ERROR(WriteShard(shards[i], dtype, absl::StrCat(folder, "/", name)));
    for (const auto& [tensor, unused] : shards[i].tensors) weight_map[tensor] = name;
    total_bytes += shards[i].num_bytes;
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  return WriteFileSynced(absl::StrCat(folder, "/", kWeightsIndexFile), index.dump(2) + "\n");
}

}  // namespace

absl::Status ExportFolder(const Transformer& model, const std::string& tokenizer_json, const Companions& companions,
                          const std::string& folder, const ExportOptions& options) {
  ASSIGN_OR_RETURN(const ExportDtype dtype, FindDtype(options.dtype));
  Companions files = companions;
  for (const auto& [name, content] : files) RETURN_IF_ERROR(CheckCompanion(name, content));
  if (!files.contains(kTokenizerConfigFile)) {
    ASSIGN_OR_RETURN(files[kTokenizerConfigFile], TokenizerConfigJson(model.config(), tokenizer_json));
  }
  files[kConfigFile] = ConfigJson(model.config(), dtype.config);
  files[kTokenizerFile] = tokenizer_json;

  const fs::path place = fs::absolute(folder).lexically_normal();
  // A trailing slash would name a folder inside it.
  const fs::path target = place.has_filename() ? place : place.parent_path();
  RETURN_IF_ERROR(CheckReplaceable(target));
  const std::string temporary = absl::StrCat(target.string(), ".tmp.", ::getpid());
  const absl::Cleanup remove_leftovers = [&temporary] {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  };
  RETURN_IF_ERROR(MakeFolders(temporary));
  for (const auto& [name, content] : files) {
    RETURN_IF_ERROR(WriteFileSynced(absl::StrCat(temporary, "/", name), content));
  }
  RETURN_IF_ERROR(
      TorchGuard([&] { return WriteTensors(model.HuggingFaceTensors(), dtype, options.max_shard_bytes, temporary); }));
  RETURN_IF_ERROR(SyncFolder(temporary));
  return MoveIntoPlace(temporary, target);
}

}  // namespace grpo
