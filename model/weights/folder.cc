#include <ATen/ops/empty.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/tensor.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/safetensors.h"
#include "model/weights/weight_set.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr char kConfigFile[] = "config.json", kTokenizerFile[] = "tokenizer.json";
constexpr char kTokenizerConfigFile[] = "tokenizer_config.json", kWeightsFile[] = "model.safetensors";
constexpr int64_t kMaxJsonBytes = int64_t{1} << 30;

// What transformers wants beside tokenizer.json to load it as it is, by PreTrainedTokenizerFast. (AutoTokenizer of
// transformers 5 puts Qwen2's byte-level pipeline in the place of the file's own whenever model_type is qwen2; no field
// here prevents it.)
absl::StatusOr<std::string> TokenizerConfigJson(const WeightSet& weights) {
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(weights.manifest.config_json()));
  const absl::string_view tokenizer_json = TokenizerJson(weights.manifest, weights.payload);
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(tokenizer_json));
  const auto token = [&](int64_t id) { return tokenizer->Decode({static_cast<uint32_t>(id)}); };
  const nlohmann::json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                               {"eos_token", token(config.eos_token_ids.front())},
                               {"pad_token", token(config.pad_token_id)},
                               {"model_max_length", config.max_positions},
                               {"clean_up_tokenization_spaces", false}};
  return json.dump(2) + "\n";
}

// OK when the folder is not there, or holds nothing but what an export writes.
absl::Status CheckReplaceable(const fs::path& folder) {
  static const std::set<std::string> kOurs = {kConfigFile, kTokenizerFile, kTokenizerConfigFile, kWeightsFile};
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!kOurs.contains(name)) {
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

// The names of the files that hold the weights.
absl::StatusOr<std::vector<std::string>> WeightFiles(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / kWeightsFile, error)) return std::vector<std::string>{(folder / kWeightsFile).string()};
  std::vector<std::string> shards;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::StartsWith(name, "model-") && absl::EndsWith(name, ".safetensors")) shards.push_back(it->path().string());
  }
  if (error) return ErrnoStatus(error.value(), "read folder", folder.string());
  if (shards.empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder.string(), " holds neither model.safetensors nor model-*.safetensors"));
  }
  std::sort(shards.begin(), shards.end());
  return shards;
}

// Copies an entry into the model's tensor of its name and takes that name off the list.
absl::Status TakeEntry(const SafetensorsEntry& entry, std::map<std::string, at::Tensor>& missing) {
  static const std::map<std::string, at::ScalarType> kDtypes = {
      {"F32", at::kFloat}, {"BF16", at::kBFloat16}, {"F16", at::kHalf}};
  const auto target = missing.find(entry.name);
  if (target == missing.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", entry.name, " is given twice, or config.json describes a model without it"));
  }
  const auto dtype = kDtypes.find(entry.dtype);
  if (dtype == kDtypes.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", entry.name, " is ", entry.dtype, "; F32, BF16 and F16 can be read"));
  }
  RETURN_IF_ERROR(ExpectShape(target->second, entry.shape, entry.name.c_str()));
  const at::Tensor staged = at::empty(entry.shape, dtype->second);
  std::memcpy(staged.mutable_data_ptr(), entry.bytes.data(), entry.bytes.size());
  target->second.copy_(staged);
  missing.erase(target);
  return absl::OkStatus();
}

absl::Status ReadWeights(const std::vector<std::string>& files, Transformer& model) {
  std::map<std::string, at::Tensor> missing;
  for (const auto& [name, tensor] : model.HuggingFaceTensors()) missing.emplace(name, tensor);
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
    const auto entries = ParseSafetensors(content);
    if (!entries.ok()) return Annotate(entries.status(), file);
    for (const SafetensorsEntry& entry : *entries) {
      // Some writers store a tied head a second time; transformers ties it again and so reads the embedding.
      if (entry.name == "lm_head.weight" && model.config().tie_word_embeddings) continue;
      RETURN_IF_ERROR(Annotate(TakeEntry(entry, missing), file));
    }
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(files.front(), ": tensor ", missing.begin()->first, " is missing",
                                                 missing.size() > 1 ? ", among others" : ""));
}

}  // namespace

absl::Status ExportFolder(const WeightSet& weights, const std::string& folder) {
  const fs::path place = fs::absolute(folder).lexically_normal();
  // A trailing slash would name a folder inside it.
  const fs::path target = place.has_filename() ? place : place.parent_path();
  RETURN_IF_ERROR(CheckReplaceable(target));
  ASSIGN_OR_RETURN(const std::string tokenizer_config, TokenizerConfigJson(weights));
  const std::string temporary = absl::StrCat(target.string(), ".tmp.", ::getpid());
  const absl::Cleanup remove_leftovers = [&temporary] {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  };
  RETURN_IF_ERROR(MakeFolders(temporary));
  const auto write = [&](const char* name, absl::string_view content) {
    return WriteFileSynced(absl::StrCat(temporary, "/", name), content);
  };
  RETURN_IF_ERROR(write(kConfigFile, weights.manifest.config_json()));
  RETURN_IF_ERROR(write(kTokenizerFile, TokenizerJson(weights.manifest, weights.payload)));
  RETURN_IF_ERROR(write(kTokenizerConfigFile, tokenizer_config));
  RETURN_IF_ERROR(write(kWeightsFile, SafetensorsOf(weights)));
  RETURN_IF_ERROR(SyncFolder(temporary));
  return MoveIntoPlace(temporary, target);
}

absl::StatusOr<WeightSet> ImportFolder(const std::string& folder, const v1::PolicyRef& policy) {
  const fs::path place(folder);
  ASSIGN_OR_RETURN(const std::string config_json, ReadFile((place / kConfigFile).string(), kMaxJsonBytes));
  ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadFile((place / kTokenizerFile).string(), kMaxJsonBytes));
  const auto config = ParseModelConfig(config_json);
  if (!config.ok()) return Annotate(config.status(), folder);
  ASSIGN_OR_RETURN(const std::vector<std::string> files, WeightFiles(place));
  ASSIGN_OR_RETURN(const std::unique_ptr<Transformer> model, Transformer::Create(*config));
  RETURN_IF_ERROR(TorchGuard([&] { return ReadWeights(files, *model); }));
  return PackWeights(*model, tokenizer_json, policy);
}

}  // namespace grpo
