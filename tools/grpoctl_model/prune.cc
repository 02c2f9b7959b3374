#include "tools/grpoctl_model/prune.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "model/even_layers.h"
#include "model/families.h"
#include "model/weights/companions.h"
#include "model/weights/weight_files.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr char kConfigFile[] = "config.json", kTokenizerFile[] = "tokenizer.json";
constexpr char kGenerationFile[] = "generation_config.json";
// Of all families; the layer's number, from 0, follows.
constexpr absl::string_view kLayerPrefix = "model.layers.";

absl::StatusOr<std::vector<int64_t>> ParseList(const std::string& list, int64_t num_layers) {
  std::vector<int64_t> layers;
  for (const absl::string_view text : absl::StrSplit(list, ',')) {
    int64_t layer = 0;
    if (!absl::SimpleAtoi(text, &layer) || layer < 1 || layer > num_layers) {
      return absl::InvalidArgumentError(absl::StrCat("--layers ", list, ": there is no layer \"", text,
                                                     "\"; the model's are 1 to ", num_layers,
                                                     ". Give numbers with commas between, or \"even\""));
    }
    if (std::find(layers.begin(), layers.end(), layer) != layers.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--layers ", list, ": layer ", layer, " is there twice: name each layer once"));
    }
    if (!layers.empty() && layer < layers.back()) {
      return absl::InvalidArgumentError(absl::StrCat("--layers ", list, ": layer ", layer, " comes after layer ",
                                                     layers.back(), ": give them in rising order"));
    }
    layers.push_back(layer);
  }
  return layers;
}

// A tensor's layer, from 1, and what its name says beyond that: "model.layers.3.mlp.up_proj.weight" is
// ".mlp.up_proj.weight" of layer 4. Layer 0: it lies in none; -1: that is no number of a layer.
struct LayerName {
  int64_t layer = 0;
  absl::string_view rest;
};

LayerName ParseLayerName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kLayerPrefix)) return {};
  const absl::string_view number = name.substr(0, name.find('.'));
  int64_t index = 0;
  // One way to write a number: "03" is another tensor than "3".
  if (!absl::SimpleAtoi(number, &index) || index < 0 || index >= INT64_MAX || absl::StrCat(index) != number) {
    return {.layer = -1, .rest = {}};
  }
  return {.layer = index + 1, .rest = name.substr(number.size())};
}

// Every layer has what any of them has, so that none of those that stay is incomplete.
absl::Status CheckLayers(const std::vector<WeightFile>& files, int64_t num_layers) {
  std::map<absl::string_view, std::set<int64_t>> layers_with;
  for (const WeightFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries) {
      const LayerName name = ParseLayerName(entry.name);
      if (name.layer == 0) continue;
      if (name.layer < 0 || name.layer > num_layers) {
        return absl::InvalidArgumentError(absl::StrCat(file.file->path(), ": tensor ", entry.name,
                                                       " is unexpected: config.json describes ", num_layers,
                                                       " layers, numbered from 0 in the names"));
      }
      layers_with[name.rest].insert(name.layer);
    }
  }
  if (layers_with.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no tensor is named ", kLayerPrefix, "..., so there are no layers to choose from"));
  }
  for (const auto& [rest, layers] : layers_with) {
    for (int64_t layer = 1; layer <= num_layers; ++layer) {
      if (layers.contains(layer)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", kLayerPrefix, layer - 1, rest, " is missing, and other layers have theirs"));
    }
  }
  return absl::OkStatus();
}

// A file's tensors that stay, under their new names.
std::vector<SafetensorsEntry> KeptEntries(const WeightFile& file, const std::vector<int64_t>& layers) {
  std::vector<SafetensorsEntry> kept;
  for (const SafetensorsEntry& entry : file.entries) {
    const LayerName name = ParseLayerName(entry.name);
    const auto place = std::lower_bound(layers.begin(), layers.end(), name.layer);
    if (name.layer == 0) {
      kept.push_back(entry);
    } else if (place != layers.end() && *place == name.layer) {
      kept.push_back(entry);
      kept.back().name = absl::StrCat(kLayerPrefix, place - layers.begin(), name.rest);
    }
  }
  return kept;
}

absl::Status WriteEntries(const WeightFile& from, const std::vector<SafetensorsEntry>& entries,
                          const std::string& path) {
  std::map<std::string, std::string> metadata;
  RETURN_IF_ERROR(ParseSafetensors(from.file->content(), &metadata).status());
  // transformers asks for this key.
  metadata.emplace("format", "pt");
  ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(path));
  RETURN_IF_ERROR(writer.Append(SafetensorsHeader(entries, metadata)));
  for (const SafetensorsEntry& entry : entries) RETURN_IF_ERROR(writer.Append(entry.bytes));
  RETURN_IF_ERROR(from.file->Check());
  return writer.Finish();
}

absl::Status WriteWeights(const std::vector<WeightFile>& files, const std::vector<int64_t>& layers,
                          const std::string& folder) {
  std::vector<std::pair<const WeightFile*, std::vector<SafetensorsEntry>>> shards;
  for (const WeightFile& file : files) {
    std::vector<SafetensorsEntry> kept = KeptEntries(file, layers);
    if (!kept.empty()) shards.emplace_back(&file, std::move(kept));
  }
  if (shards.size() == 1) {
    return WriteEntries(*shards[0].first, shards[0].second, absl::StrCat(folder, "/", kWeightsFile));
  }
  nlohmann::ordered_json weight_map;
  int64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = ShardName(i, shards.size());
    RETURN_IF_ERROR(WriteEntries(*shards[i].first, shards[i].second, absl::StrCat(folder, "/", name)));
    for (const SafetensorsEntry& entry : shards[i].second) {
      weight_map[entry.name] = name;
      total_bytes += static_cast<int64_t>(entry.bytes.size());
    }
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  return WriteFileSynced(absl::StrCat(folder, "/", kWeightsIndexFile), index.dump(2) + "\n");
}

// REQUIRES a config.json that ParseModelConfig reads.
absl::StatusOr<std::string> PrunedConfig(const std::string& config_json, const std::vector<int64_t>& layers,
                                         int64_t num_layers) {
  auto json = nlohmann::ordered_json::parse(config_json);
  json["num_hidden_layers"] = layers.size();
  if (const auto types = json.find("layer_types"); types != json.end() && types->is_array()) {
    if (static_cast<int64_t>(types->size()) != num_layers) {
      return absl::InvalidArgumentError(absl::StrCat("config.json: layer_types holds ", types->size(),
                                                     " elements and num_hidden_layers is ", num_layers,
                                                     ": give each layer its own"));
    }
    auto kept = nlohmann::ordered_json::array();
    for (const int64_t layer : layers) kept.push_back((*types)[layer - 1]);
    *types = std::move(kept);
  }
  // So many of the first layers attend to all positions, and the others through a window. More than there are: all do,
  // and it stays so.
  if (const auto window = json.find("max_window_layers");
      window != json.end() && window->is_number_integer() && window->get<double>() <= num_layers) {
    const double number = window->get<double>();
    *window = std::count_if(layers.begin(), layers.end(), [&](int64_t layer) { return layer <= number; });
  }
  return json.dump(2) + "\n";
}

absl::Status CheckFree(const std::string& out, const fs::path& target) {
  std::error_code error;
  const fs::directory_iterator first(target, error);
  if (error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  if (error) return ErrnoStatus(error.value(), "--out: read folder", target.string());
  if (first == fs::directory_iterator()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("--out ", out, " holds ", first->path().filename().string(),
                                                    " already: choose a folder that is not there, or empty it"));
}

// What is written, in memory or mapped.
struct Pruned {
  std::vector<int64_t> layers;
  // Name -> content, without the weights.
  std::map<std::string, std::string> texts;
  std::vector<WeightFile> weights;
};

absl::StatusOr<Pruned> Read(const std::string& folder, const PruneOptions& options) {
  Pruned pruned;
  ASSIGN_OR_RETURN(const std::string config_json, ReadModelFile(folder, kConfigFile, kMaxConfigBytes));
  ASSIGN_OR_RETURN(pruned.texts, ReadCompanions(folder));
  ASSIGN_OR_RETURN(pruned.texts[kTokenizerFile], ReadModelFile(folder, kTokenizerFile, kMaxTokenizerBytes));
  const auto generation = pruned.texts.find(kGenerationFile);
  const auto config = ParseModelConfig(config_json, generation == pruned.texts.end() ? "" : generation->second);
  if (!config.ok()) return Annotate(config.status(), folder);
  ASSIGN_OR_RETURN(pruned.layers, ChooseLayers(options, config->num_layers));
  auto pruned_config = PrunedConfig(config_json, pruned.layers, config->num_layers);
  if (!pruned_config.ok()) return Annotate(pruned_config.status(), folder);
  pruned.texts[kConfigFile] = *std::move(pruned_config);
  ASSIGN_OR_RETURN(pruned.weights, OpenWeightFiles(folder));
  RETURN_IF_ERROR(Annotate(CheckWeightsSize(*config, pruned.weights), folder));
  RETURN_IF_ERROR(Annotate(CheckLayers(pruned.weights, config->num_layers), folder));
  return pruned;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ChooseLayers(const PruneOptions& options, int64_t num_layers) {
  if (options.layers != "even") {
    if (!options.keep.has_value()) return ParseList(options.layers, num_layers);
    return absl::InvalidArgumentError(absl::StrCat("--keep ", *options.keep, " beside --layers ", options.layers,
                                                   ": a list says itself how many stay; leave --keep out"));
  }
  const int64_t keep = options.keep.value_or((num_layers + 1) / 2);
  if (keep >= 1 && keep <= num_layers) return EvenLayers(num_layers, keep);
  return absl::InvalidArgumentError(
      absl::StrCat("--keep ", keep, ": the model has ", num_layers, " layers; give a number from 1 to ", num_layers));
}

absl::StatusOr<std::vector<int64_t>> PruneFolder(const std::string& folder, const PruneOptions& options,
                                                 const std::string& out) {
  const fs::path place = fs::absolute(out).lexically_normal();
  // A trailing slash would name a folder inside it.
  const fs::path target = place.has_filename() ? place : place.parent_path();
  RETURN_IF_ERROR(CheckFree(out, target));
  ASSIGN_OR_RETURN(Pruned pruned, Read(folder, options));
  const std::string temporary = absl::StrCat(target.string(), ".tmp.", ::getpid());
  const absl::Cleanup remove_leftovers = [&temporary] {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  };
  RETURN_IF_ERROR(MakeFolders(temporary));
  for (const auto& [name, content] : pruned.texts) {
    RETURN_IF_ERROR(WriteFileSynced(absl::StrCat(temporary, "/", name), content));
  }
  RETURN_IF_ERROR(WriteWeights(pruned.weights, pruned.layers, temporary));
  RETURN_IF_ERROR(SyncFolder(temporary));
  // Takes the place of an empty folder, and of nothing else.
  RETURN_IF_ERROR(Rename(temporary, target.string()));
  RETURN_IF_ERROR(SyncFolder(target.parent_path().string()));
  return std::move(pruned.layers);
}

std::string PrunedTable(const std::vector<int64_t>& layers) {
  std::string table = "student layer  teacher layer\n";
  for (size_t i = 0; i < layers.size(); ++i) absl::StrAppendFormat(&table, "%13d  %13d\n", i + 1, layers[i]);
  return table;
}

std::string PrunedJson(const std::vector<int64_t>& layers, const std::string& out) {
  nlohmann::ordered_json json = {{"exported_to", out}};
  for (size_t i = 0; i < layers.size(); ++i) json["layers"].push_back({{"student", i + 1}, {"teacher", layers[i]}});
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace grpo
