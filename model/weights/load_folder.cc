#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/tensor.h"
#include "model/weights/folder.h"
#include "model/weights/tensor_bytes.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20, kMaxTokenizerBytes = int64_t{1} << 30;

const std::map<absl::string_view, at::ScalarType>& ReadableDtypes() {
  static const auto* const kDtypes =
      new std::map<absl::string_view, at::ScalarType>{{"F32", at::kFloat}, {"BF16", at::kBFloat16}, {"F16", at::kHalf}};
  return *kDtypes;
}

// A tensor of the files and the model's tensor that it goes into.
struct Move {
  const SafetensorsEntry* entry;
  at::Tensor target;
};

absl::Status CheckEntry(const SafetensorsEntry& entry, const at::Tensor& target) {
  if (!ReadableDtypes().contains(entry.dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", entry.name, " is ", entry.dtype, "; F32, BF16 and F16 can be read"));
  }
  if (target.sizes() == at::IntArrayRef(entry.shape)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", entry.name, " has shape [", absl::StrJoin(entry.shape, ", "),
                   "], and config.json describes one of [", absl::StrJoin(target.sizes(), ", "), "]"));
}

// Which tensor goes where; each of the model's has its one.
absl::StatusOr<std::vector<Move>> MatchTensors(const std::vector<WeightFile>& files, const Transformer& model) {
  std::map<std::string, at::Tensor> missing;
  for (auto& [name, tensor] : model.HuggingFaceTensors()) missing.emplace(name, tensor);
  std::vector<Move> moves;
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) {
      // Some writers store a tied head a second time; transformers ties it again and so reads the embedding.
      if (entry.name == "lm_head.weight" && model.config().tie_word_embeddings) continue;
      const auto target = missing.find(entry.name);
      if (target == missing.end()) {
        return absl::InvalidArgumentError(absl::StrCat(file.file->path(), ": tensor ", entry.name,
                                                       " is unexpected: config.json describes a model without it"));
      }
      RETURN_IF_ERROR(Annotate(CheckEntry(entry, target->second), file.file->path()));
      moves.push_back({.entry = &entry, .target = target->second});
      missing.erase(target);
    }
  }
  if (missing.empty()) return moves;
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", missing.begin()->first, " is missing", missing.size() > 1 ? ", among others" : ""));
}

absl::Status CopyTensors(const std::vector<WeightFile>& files, const Transformer& model) {
  return TorchGuard([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Move> moves, MatchTensors(files, model));
    for (const auto& [entry, target] : moves) CopyFromBytes(entry->bytes, ReadableDtypes().at(entry->dtype), target);
    for (const WeightFile& file : files) RETURN_IF_ERROR(file.file->Check());
    return absl::OkStatus();
  });
}

// A few bytes of config.json can describe any size. A parameter has two bytes at least; the rest is slack, so that
// MatchTensors can name what is missing from a smaller difference.
absl::Status CheckSize(const ModelConfig& config, const std::vector<WeightFile>& files) {
  int64_t num_bytes = 0;
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) num_bytes += static_cast<int64_t>(entry.bytes.size());
  }
  if (config.NumParameters() <= num_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("config.json describes a model of ", config.NumParameters(),
                                                 " parameters, but the weights have only ", num_bytes, " bytes"));
}

// transformers stops at the end tokens of generation_config.json; chat models often name more there than in
// config.json.
absl::Status AddEndTokens(const Companions& companions, ModelConfig& config) {
  const auto file = companions.find("generation_config.json");
  if (file == companions.end()) return absl::OkStatus();
  const nlohmann::json object = nlohmann::json::parse(file->second, nullptr, /*allow_exceptions=*/false);
  const auto field = object.find("eos_token_id");
  if (field == object.end() || field->is_null()) return absl::OkStatus();
  for (const nlohmann::json& id : field->is_array() ? *field : nlohmann::json::array({*field})) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(config.vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat("generation_config.json: eos_token_id holds ", id.dump(),
                                                     ", expected token ids below vocab_size ", config.vocab_size));
    }
    std::vector<int64_t>& ends = config.eos_token_ids;
    if (std::find(ends.begin(), ends.end(), id.get<int64_t>()) == ends.end()) ends.push_back(id.get<int64_t>());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadTokenizerJson(const std::string& folder) {
  return ReadFile((fs::path(folder) / "tokenizer.json").string(), kMaxTokenizerBytes);
}

absl::StatusOr<LoadedFolder> LoadFolder(const std::string& folder, Placement placement) {
  const fs::path place(folder);
  LoadedFolder loaded;
  ASSIGN_OR_RETURN(const std::string config_json, ReadFile((place / "config.json").string(), kMaxConfigBytes));
  ASSIGN_OR_RETURN(loaded.tokenizer_json, ReadTokenizerJson(folder));
  ASSIGN_OR_RETURN(loaded.companions, ReadCompanions(folder));
  auto config = ParseModelConfig(config_json);
  if (!config.ok()) return Annotate(config.status(), folder);
  RETURN_IF_ERROR(Annotate(AddEndTokens(loaded.companions, *config), folder));
  ASSIGN_OR_RETURN(const std::vector<WeightFile> files, OpenWeightFiles(folder));
  RETURN_IF_ERROR(Annotate(CheckSize(*config, files), folder));
  ASSIGN_OR_RETURN(loaded.model, Transformer::Create(*config, placement));
  RETURN_IF_ERROR(Annotate(CopyTensors(files, *loaded.model), folder));
  return loaded;
}

}  // namespace grpo
