#include "model/weights/weight_files.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/foreign_content.h"
#include "common/status_macros.h"
#include "model/strict_json.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

// Names of some 400,000 tensors; the largest models have a fifth of that.
constexpr int64_t kMaxIndexBytes = int64_t{64} << 20;

absl::Status BadIndex(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(kWeightsIndexFile, ": ", what));
}

// Whether a name from outside is that of a file in the folder itself.
bool IsPlainFileName(absl::string_view name) {
  return !absl::StartsWith(name, ".") && name.find_first_of(absl::string_view("/\\\0", 3)) == absl::string_view::npos &&
         absl::EndsWith(name, kShardSuffix);
}

absl::StatusOr<std::optional<int64_t>> TotalBytes(const nlohmann::json& index) {
  const auto metadata = index.find("metadata");
  if (metadata == index.end() || metadata->is_null()) return std::nullopt;
  if (!metadata->is_object()) return BadIndex(absl::StrCat("metadata is ", ShowJson(*metadata), ", not an object"));
  const auto total = metadata->find("total_size");
  if (total == metadata->end() || total->is_null()) return std::nullopt;
  // Some writers computed it in floating point.
  const double value = total->is_number() ? total->get<double>() : -1;
  if (!(value >= 0 && value <= static_cast<double>(int64_t{1} << 53)) || value != static_cast<int64_t>(value)) {
    return BadIndex(absl::StrCat("metadata.total_size is ", ShowJson(*total), ", expected a number of bytes"));
  }
  return static_cast<int64_t>(value);
}

absl::StatusOr<WeightFile> OpenWeightFile(const fs::path& path) {
  WeightFile opened;
  ASSIGN_OR_RETURN(opened.file, MappedFile::Open(path.string()));
  auto entries = ParseSafetensors(opened.file->content());
  // First whether it is the file's own fault.
  RETURN_IF_ERROR(opened.file->Check());
  if (!entries.ok()) {
    const std::string foreign = ForeignContent(opened.file->content());
    return foreign.empty() ? Annotate(entries.status(), path.string())
                           : absl::InvalidArgumentError(absl::StrCat(path.string(), " ", foreign));
  }
  opened.entries = *std::move(entries);
  return opened;
}

absl::StatusOr<std::vector<std::string>> ListShards(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> shards;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::StartsWith(name, kShardPrefix) && absl::EndsWith(name, kShardSuffix)) shards.push_back(name);
  }
  if (error) return ErrnoStatus(error.value(), "read folder", folder.string());
  if (shards.empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder.string(),
                     " holds neither model.safetensors nor model-*.safetensors: weights in other "
                     "formats have to be converted first"));
  }
  std::sort(shards.begin(), shards.end());
  return shards;
}

// Every tensor lies in one file, where the index says.
absl::Status CheckAgainstIndex(const ShardIndex& index, const std::vector<std::string>& names,
                               const std::vector<WeightFile>& files, std::vector<std::string>* ignored) {
  int64_t total_bytes = 0;
  std::set<absl::string_view> found;
  for (size_t i = 0; i < files.size(); ++i) {
    for (const SafetensorsEntry& entry : files[i].entries) {
      total_bytes += static_cast<int64_t>(entry.bytes.size());
      found.insert(entry.name);
      const auto named = index.weight_map.find(entry.name);
      if (named == index.weight_map.end() || named->second != names[i]) {
        return BadIndex(absl::StrCat("tensor ", entry.name, " lies in ", names[i], ", but weight_map names ",
                                     named == index.weight_map.end() ? "no file for it" : named->second));
      }
    }
  }
  for (const auto& [tensor, file] : index.weight_map) {
    if (!found.contains(tensor)) {
      return BadIndex(absl::StrCat("weight_map says that tensor ", tensor, " lies in ", file, ", which has none"));
    }
  }
  if (index.total_bytes.has_value() && *index.total_bytes != total_bytes && ignored != nullptr) {
    ignored->push_back(absl::StrCat("metadata.total_size ", *index.total_bytes, ": the tensors have ", total_bytes,
                                    " bytes, each as many as its shape says"));
  }
  return absl::OkStatus();
}

absl::Status CheckUnique(const std::vector<WeightFile>& files) {
  std::map<absl::string_view, const std::string*> found;
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) {
      const auto [first, is_new] = found.emplace(entry.name, &file.file->path());
      if (!is_new) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", entry.name, " is given twice: in ", *first->second, " and ", file.file->path()));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadModelFile(const std::string& folder, const std::string& name, int64_t max_bytes) {
  const std::string path = (fs::path(folder) / name).string();
  ASSIGN_OR_RETURN(std::string content, ReadFile(path, max_bytes));
  const std::string foreign = ForeignContent(content);
  if (foreign.empty()) return content;
  return absl::InvalidArgumentError(absl::StrCat(path, " ", foreign));
}

std::string ShardName(size_t number, size_t count) {
  return absl::StrFormat("%s%05d-of-%05d%s", kShardPrefix, number + 1, count, kShardSuffix);
}

absl::StatusOr<ShardIndex> ParseShardIndex(absl::string_view index_json) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(index_json, kWeightsIndexFile));
  ShardIndex index;
  ASSIGN_OR_RETURN(index.total_bytes, TotalBytes(json));
  const auto weight_map = json.find("weight_map");
  if (weight_map == json.end() || !weight_map->is_object()) return BadIndex("weight_map is missing or not an object");
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return BadIndex(absl::StrCat("weight_map names ", ShowJson(file), " for tensor ", tensor,
                                   ", expected the name of a .safetensors file in the same folder"));
    }
    index.weight_map.emplace(tensor, file.get<std::string>());
  }
  if (index.weight_map.empty()) return BadIndex("weight_map names no tensor");
  return index;
}

absl::StatusOr<std::vector<WeightFile>> OpenWeightFiles(const std::string& folder, std::vector<std::string>* ignored) {
  const fs::path place(folder);
  std::error_code error;
  std::optional<ShardIndex> index;
  std::vector<std::string> names;
  if (fs::exists(place / kWeightsFile, error)) {
    names = {kWeightsFile};
  } else if (fs::exists(place / kWeightsIndexFile, error)) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile((place / kWeightsIndexFile).string(), kMaxIndexBytes));
    auto parsed = ParseShardIndex(json);
    if (!parsed.ok()) return Annotate(parsed.status(), folder);
    index = *std::move(parsed);
    std::set<std::string> shards;
    for (const auto& [tensor, file] : index->weight_map) shards.insert(file);
    names.assign(shards.begin(), shards.end());
  } else {
    ASSIGN_OR_RETURN(names, ListShards(place));
  }
  std::vector<WeightFile> files;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(files.emplace_back(), OpenWeightFile(place / name));
  }
  if (index.has_value()) RETURN_IF_ERROR(Annotate(CheckAgainstIndex(*index, names, files, ignored), folder));
  RETURN_IF_ERROR(CheckUnique(files));
  return files;
}

absl::Status CheckWeightsSize(const ModelConfig& config, const std::vector<WeightFile>& files) {
  int64_t num_bytes = 0;
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) num_bytes += static_cast<int64_t>(entry.bytes.size());
  }
  if (config.NumParameters() <= num_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("config.json describes a model of ", config.NumParameters(),
                                                 " parameters, but the weights have only ", num_bytes, " bytes"));
}

}  // namespace grpo
