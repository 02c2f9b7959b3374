#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "model/families.h"
#include "model/tensor.h"
#include "model/weights/folder.h"
#include "model/weights/tensor_bytes.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

const std::map<absl::string_view, at::ScalarType>& ReadableDtypes() {
  static const auto* const kDtypes =
      new std::map<absl::string_view, at::ScalarType>{{"F32", at::kFloat}, {"BF16", at::kBFloat16}, {"F16", at::kHalf}};
  return *kDtypes;
}

constexpr absl::string_view kHead = "lm_head.weight", kEmbedding = "model.embed_tokens.weight";

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
  if (target.sizes() != at::IntArrayRef(entry.shape)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", entry.name, " has shape [", absl::StrJoin(entry.shape, ", "),
                     "], and config.json describes one of [", absl::StrJoin(target.sizes(), ", "), "]"));
  }
  if (AllFinite(entry.bytes, ReadableDtypes().at(entry.dtype))) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor ", entry.name,
      " holds infinities or values that are no numbers (NaN): no update could be made, and what is sampled "
      "means nothing; take weights from before training diverged"));
}

// Which tensor goes where; each of the model's has its one.
absl::StatusOr<std::vector<Move>> MatchTensors(const std::vector<WeightFile>& files, const Transformer& model,
                                               std::vector<std::string>* ignored) {
  std::map<std::string, at::Tensor> missing;
  for (auto& [name, tensor] : model.HuggingFaceTensors()) missing.emplace(name, tensor);
  std::vector<Move> moves;
  int64_t num_frequencies = 0;
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) {
      // Some writers store a tied head a second time; here it is known to equal the embedding.
      if (entry.name == kHead && model.config().tie_word_embeddings) continue;
      // Older writers stored the rotary frequencies, which follow from config.json.
      if (absl::EndsWith(entry.name, "rotary_emb.inv_freq")) {
        ++num_frequencies;
        continue;
      }
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
  if (num_frequencies > 0 && ignored != nullptr) {
    ignored->push_back(absl::StrCat(num_frequencies, " tensors rotary_emb.inv_freq: computed from config.json"));
  }
  if (missing.empty()) return moves;
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", missing.begin()->first, " is missing", missing.size() > 1 ? ", among others" : ""));
}

absl::Status CopyTensors(const std::vector<WeightFile>& files, const Transformer& model,
                         std::vector<std::string>* ignored) {
  return TorchGuard([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Move> moves, MatchTensors(files, model, ignored));
    for (const auto& [entry, target] : moves) CopyFromBytes(entry->bytes, ReadableDtypes().at(entry->dtype), target);
    for (const WeightFile& file : files) RETURN_IF_ERROR(file.file->Check());
    return absl::OkStatus();
  });
}

const SafetensorsEntry* FindEntry(const std::vector<WeightFile>& files, absl::string_view name) {
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) {
      if (entry.name == name) return &entry;
    }
  }
  return nullptr;
}

// Whether the files hold a head that is another than the embedding.
bool HoldsOwnHead(const std::vector<WeightFile>& files) {
  const SafetensorsEntry* const head = FindEntry(files, kHead);
  const SafetensorsEntry* const embedding = FindEntry(files, kEmbedding);
  return head != nullptr && embedding != nullptr &&
         (head->dtype != embedding->dtype || head->shape != embedding->shape || head->bytes != embedding->bytes);
}

std::string CompanionOr(const Companions& companions, const std::string& name) {
  const auto found = companions.find(name);
  return found == companions.end() ? "" : found->second;
}

}  // namespace

absl::StatusOr<std::string> ReadTokenizerJson(const std::string& folder) {
  return ReadModelFile(folder, "tokenizer.json", kMaxTokenizerBytes);
}

absl::StatusOr<LoadedFolder> LoadFolder(const std::string& folder, Placement placement) {
  LoadedFolder loaded;
  ASSIGN_OR_RETURN(const std::string config_json, ReadModelFile(folder, "config.json", kMaxConfigBytes));
  ASSIGN_OR_RETURN(loaded.tokenizer_json, ReadTokenizerJson(folder));
  ASSIGN_OR_RETURN(loaded.companions, ReadCompanions(folder));
  auto config =
      ParseModelConfig(config_json, CompanionOr(loaded.companions, "generation_config.json"), &loaded.ignored);
  if (!config.ok()) return Annotate(config.status(), folder);
  ASSIGN_OR_RETURN(const std::vector<WeightFile> files, OpenWeightFiles(folder, &loaded.ignored));
  if (config->tie_word_embeddings && HoldsOwnHead(files)) {
    config->tie_word_embeddings = false;
    loaded.ignored.push_back("tie_word_embeddings true: the lm_head.weight that is stored differs from the embedding");
  }
  RETURN_IF_ERROR(Annotate(CheckWeightsSize(*config, files), folder));
  ASSIGN_OR_RETURN(loaded.model, Transformer::Create(*config, placement));
  RETURN_IF_ERROR(Annotate(CopyTensors(files, *loaded.model, &loaded.ignored), folder));
  return loaded;
}

}  // namespace grpo
