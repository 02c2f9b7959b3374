#include "trainer/run_config.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "data/sources.h"
#include "reward/profile.h"
#include "trainer/artifact_places.h"
#include "trainer/device_conflicts.h"
#include "trainer/endpoint_check.h"
#include "trainer/rounds.h"
#include "trainer/stage/stage.h"
#include "trainer/unroll.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

template <class T>
std::vector<std::string> KeysOf(const std::map<std::string, T>& map) {
  std::vector<std::string> keys;
  for (const auto& [key, unused] : map) keys.push_back(key);
  return keys;
}

// Names files and folders on any system.
bool IsFileName(const std::string& name) {
  const auto allowed = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; };
  return !name.empty() && name.size() <= 64 && absl::ascii_isalnum(name[0]) &&
         std::all_of(name.begin(), name.end(), allowed);
}

// Fills and checks `loaded`: config and data_sha256. Every method adds to the errors and goes on.
class Checker {
 public:
  Checker(Section root, std::string folder, LoadedConfig* loaded)
      : root_(std::move(root)), folder_(std::move(folder)), loaded_(*loaded), config_(loaded->config) {}

  // What each key says by itself, and paths. Whatever plug-ins declare is resolved too: every key with its value.
  void Load() {
    Add(LoadOptions(root_, &config_));
    ResolvePaths();
    for (auto& [name, profile] : config_.rewards) {
      absl::StatusOr<std::unique_ptr<RewardProfile>> made = RewardProfile::Make(name, profile);
      Add(made.status());
      if (made.ok()) profile = (*made)->options();
    }
    for (const auto& [name, data] : config_.data) {
      if (!data.artifact.empty()) {
        CheckArtifactData(name, data);
        continue;
      }
      if (!MixedSources(data).empty()) {
        CheckMix(name, data);
        continue;
      }
      const absl::StatusOr<std::unique_ptr<DataSource>> source = MakeDataSource(data, folder_);
      Add(source.status());
      if (source.ok() && !(*source)->content_sha256().empty()) loaded_.data_sha256[name] = (*source)->content_sha256();
    }
    for (size_t i = 0; i < config_.stages.size(); ++i) LoadStage(absl::StrCat("stages.", i), &config_.stages[i]);
  }

  // How the parts fit together. Needs a Load without errors.
  void CheckReferences() {
    if (!IsFileName(config_.run.name)) {
      Add("run.name",
          "names the run's folder; use up to 64 letters, digits, _, - and ., beginning with a letter or digit");
    }
    for (const auto& [name, policy] : config_.policies) CheckPolicy(name, policy);
    for (const Conflict& conflict : ArtifactConflicts(config_.artifacts)) Add(conflict.key, conflict.message);
    for (const Conflict& conflict : DeviceConflicts(config_)) Add(conflict.key, conflict.message);
    const CoordinatorOptions& coordinator = config_.coordinator;
    if (coordinator.lease_ttl_s <= 2 * coordinator.heartbeat_interval_s) {
      Add("coordinator.lease_ttl_s",
          absl::StrCat("must be more than two heartbeat intervals of ", coordinator.heartbeat_interval_s,
                       " s: a worker renews its leases, and is known to be lost, no sooner"));
    }
    CheckStageNames();
    for (const Conflict& conflict : RoundConflicts(config_)) Add(conflict.key, conflict.message);
    for (const Reference& reference : references_) CheckReference(reference);
    for (const RuleReference& reference : rules_) CheckRule(reference);
    CheckTopKOutputs();
    CheckArtifactReaders();
    for (const auto& [key, path] : files_) {
      std::error_code error;
      if (!fs::exists(path, error)) AddMissingFile(key, path);
    }
  }

  absl::Status status() const { return JoinErrors(errors_); }

 private:
  void Add(const absl::Status& status) { errors_.push_back(status); }
  void Add(absl::string_view key, absl::string_view message) { Add(SectionError(root_, key, message)); }
  void AddMissingFile(const std::string& key, const std::string& path) {
    Add(absl::NotFoundError(
        SectionError(root_, key,
                     absl::StrCat("there is no ", path, "; paths are relative to the configuration's folder"))
            .message()));
  }

  std::string Absolute(const std::string& path) const {
    return path.empty() ? "" : (fs::path(folder_) / path).lexically_normal().string();
  }

  // For a file that must be there.
  void Resolve(const std::string& key, std::string* path) {
    *path = Absolute(*path);
    if (!path->empty()) files_.emplace_back(key, *path);
  }

  void ResolvePaths() {
    NetworkOptions& network = config_.network;
    for (const auto& [key, path] : {std::pair{"token_file", &network.token_file},
                                    {"tls_cert", &network.tls_cert},
                                    {"tls_key", &network.tls_key},
                                    {"tls_ca", &network.tls_ca}}) {
      Resolve(absl::StrCat("network.", key), path);
    }
    ResolveRewardPaths(folder_, &config_.rewards);
    for (auto& [name, policy] : config_.policies) {
      const std::string key = absl::StrCat("policies.", name);
      policy.path = Absolute(policy.path);
      Resolve(key + ".random_init.tokenizer", &policy.random_init.tokenizer);
      Resolve(key + ".endpoint.ca_file", &policy.endpoint.ca_file);
      policy.endpoint.api_key_file = Absolute(policy.endpoint.api_key_file);
      if (!policy.path.empty()) {
        for (const char* part : {"config.json", "tokenizer.json"})
          files_.emplace_back(key + ".path", policy.path + "/" + part);
      }
    }
    for (auto& [name, data] : config_.data) {
      const std::optional<std::string> path = SectionText(data.options, "path");
      // The source itself says when its file is missing.
      if (path && !path->empty()) data.options = WithText(data.options, "path", Absolute(*path));
    }
  }

  // The file is not there yet.
  void CheckArtifactData(const std::string& name, const DataOptions& data) {
    const std::string key = absl::StrCat("data.", name, ".artifact");
    Refer(key, data.artifact, "artifacts");
    if (SectionText(data.options, "path")) Add(key, "stands in place of `path`; remove one of the two");
    DataOptions with_path = data;
    with_path.options = WithText(data.options, "path", data.artifact);
    Add(CheckDataOptions(with_path));
  }

  // Of a mix or union, whose sources are opened, and checked, by trainer/preflight.h. A mix may draw from a union.
  void CheckMix(const std::string& name, const DataOptions& data) {
    Add(CheckDataOptions(data));
    const bool is_union = data.source == "union";
    const std::vector<std::string> parts = MixedSources(data);
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string key =
          is_union ? absl::StrCat("data.", name, ".of.", i) : absl::StrCat("data.", name, ".mix.", parts[i]);
      Refer(key, parts[i], "data");
      const auto found = config_.data.find(parts[i]);
      if (found == config_.data.end()) continue;
      const std::string& source = found->second.source;
      if (source == "mix" || (is_union && source == "union"))
        Add(key, absl::StrCat("is a ", source, " itself; name its sources"));
    }
  }

  // What the reference of stage `i` reads, itself or mixed into it.
  void CheckArtifactIsWritten(size_t i, const Reference& reference, const std::set<std::string>& written) {
    std::vector<std::string> names = {reference.value};
    for (size_t k = 0; k < names.size(); ++k) {
      const auto data = config_.data.find(names[k]);
      if (data == config_.data.end()) continue;
      for (std::string& part : MixedSources(data->second)) {
        if (std::count(names.begin(), names.end(), part) == 0) names.push_back(std::move(part));
      }
    }
    for (const std::string& name : names) {
      const auto data = config_.data.find(name);
      if (data == config_.data.end() || data->second.artifact.empty() || written.count(data->second.artifact) > 0)
        continue;
      Add(absl::StrCat("stages.", i, ".", reference.key),
          absl::StrCat("data.", name, " is artifacts.", data->second.artifact, ", which no ", WritersOfData(),
                       " stage before this one has as its export_to"));
    }
  }

  // Artifacts that are data are written before they are read.
  void CheckArtifactReaders() {
    std::set<std::string> written;
    for (size_t i = 0; i < config_.stages.size(); ++i) {
      const Stage& stage = *config_.stages[i].stage;
      for (const Reference& reference : stage.references()) {
        if (reference.section == "data") CheckArtifactIsWritten(i, reference, written);
      }
      for (const std::string& artifact : stage.writes()) written.insert(artifact);
    }
  }

  // "`synthesize`": the types of stages that write what `data` can read.
  static std::string WritersOfData() {
    std::vector<std::string> types;
    for (const auto& [type, plugin] : Stages().entries()) {
      if (plugin.view.writes_data) types.push_back(absl::StrCat("`", type, "`"));
    }
    return absl::StrJoin(types, " or ");
  }

  void LoadStage(const std::string& key, ConfiguredStage* configured) {
    const absl::StatusOr<const StagePlugin*> plugin = Stages().Find(configured->type);
    // That its type is missing or unknown has been said.
    if (!plugin.ok()) return;
    absl::StatusOr<std::unique_ptr<Stage>> stage = (*plugin)->make(configured->options);
    Add(stage.status());
    if (!stage.ok()) return;
    absl::StatusOr<Section> resolved = (*plugin)->resolve(configured->options);
    Add(resolved.status());
    if (!resolved.ok()) return;
    configured->options = *std::move(resolved);
    configured->stage = *std::move(stage);
    for (const Reference& reference : configured->stage->references()) {
      if (reference.required || !reference.value.empty())
        Refer(absl::StrCat(key, ".", reference.key), reference.value, reference.section, reference.takes_endpoint);
    }
    for (RuleReference reference : configured->stage->rules()) {
      reference.key = absl::StrCat(key, ".", reference.key);
      rules_.push_back(std::move(reference));
    }
    for (const auto& [name, message] : configured->stage->Conflicts()) Add(absl::StrCat(key, ".", name), message);
  }

  void Refer(const std::string& key, const std::string& value, const std::string& section,
             bool takes_endpoint = false) {
    references_.push_back({.key = key, .section = section, .value = value, .takes_endpoint = takes_endpoint});
  }

  // The names that there are in a section that can be referred to.
  std::vector<std::string> NamesIn(const std::string& section) const {
    if (section == "policies") return KeysOf(config_.policies);
    if (section == "data") return KeysOf(config_.data);
    return section == "rewards" ? KeysOf(config_.rewards) : KeysOf(config_.artifacts);
  }

  void CheckReference(const Reference& reference) {
    const std::vector<std::string> known = NamesIn(reference.section);
    if (std::count(known.begin(), known.end(), reference.value) > 0) {
      const bool is_endpoint = reference.section == "policies" && IsEndpoint(config_, reference.value);
      if (is_endpoint && !reference.takes_endpoint) Add(reference.key, NeedsWeights(reference.value));
      return;
    }
    Add(reference.key, absl::StrCat("there is no ", reference.section, ".", reference.value, "; ",
                                    SuggestName(reference.value, known)));
  }

  // What is stored of a policy's probabilities it must have.
  void CheckTopKOutputs() {
    for (size_t i = 0; i < config_.stages.size(); ++i) {
      const std::optional<TopKOutput> output = config_.stages[i].stage->top_k_output();
      if (output.has_value() && output->k > 0 && IsEndpoint(config_, output->policy))
        Add(absl::StrCat("stages.", i, ".", output->key), NeedsWeights(output->policy));
    }
  }

  void CheckStageNames() {
    if (config_.stages.empty()) Add("stages", "is empty; a run has at least one stage");
    std::set<std::string> names;
    for (size_t i = 0; i < config_.stages.size(); ++i) {
      const std::string& name = config_.stages[i].name;
      const std::string key = absl::StrCat("stages.", i, ".name");
      if (!IsFileName(name))
        Add(key, "names files; use up to 64 letters, digits, _, - and ., beginning with a letter or digit");
      if (!names.insert(name).second)
        Add(key, absl::StrCat("another stage is called ", name, " too; give each its own name"));
    }
  }

  void CheckRule(const RuleReference& reference) {
    const auto profile = config_.rewards.find(reference.rewards);
    if (profile == config_.rewards.end() || reference.rule.empty() || profile->second.rules.count(reference.rule) > 0)
      return;
    Add(reference.key, absl::StrCat("rewards.", reference.rewards, " has no rule ", reference.rule, "; ",
                                    SuggestName(reference.rule, KeysOf(profile->second.rules))));
  }

  void CheckPolicy(const std::string& name, const PolicyOptions& policy) {
    const std::string key = absl::StrCat("policies.", name);
    const PolicyOptions::RandomInit& random = policy.random_init;
    const bool is_random = random.hidden_size > 0 || !random.tokenizer.empty();
    for (const Conflict& conflict : EndpointConflicts(policy.endpoint))
      Add(absl::StrCat(key, ".endpoint.", conflict.key), conflict.message);
    const bool origins[] = {!policy.initialize_from.empty(), !policy.path.empty(), is_random, policy.endpoint.given()};
    if (std::count(std::begin(origins), std::end(origins), true) != 1) {
      Add(key, "needs exactly one of initialize_from, path, random_init and endpoint");
      return;
    }
    if (policy.endpoint.given() && !IsFileName(name))
      Add(key, "names files; use up to 64 letters, digits, _, - and ., beginning with a letter or digit");
    if (is_random) CheckRandomInit(key + ".random_init", random);
    if (policy.initialize_from.empty()) return;
    Refer(key + ".initialize_from", policy.initialize_from, "policies");
    const PolicyOptions* origin = &policy;
    for (size_t steps = 0; origin != nullptr && !origin->initialize_from.empty(); ++steps) {
      if (steps > config_.policies.size()) {
        Add(key + ".initialize_from", "leads in a circle; one policy must start from path or random_init");
        return;
      }
      const auto found = config_.policies.find(origin->initialize_from);
      origin = found == config_.policies.end() ? nullptr : &found->second;
    }
  }

  void CheckRandomInit(const std::string& key, const PolicyOptions::RandomInit& random) {
    if (random.tokenizer.empty()) Add(key + ".tokenizer", "is missing; name a tokenizer.json");
    for (const auto& [name, value] : {std::pair{"hidden_size", random.hidden_size},
                                      {"intermediate_size", random.intermediate_size},
                                      {"num_layers", random.num_layers},
                                      {"num_heads", random.num_heads},
                                      {"num_kv_heads", random.num_kv_heads}}) {
      if (value == 0) Add(absl::StrCat(key, ".", name), "is missing or 0; give a size");
    }
    if (random.num_heads > 0 && random.hidden_size % random.num_heads != 0) {
      Add(key + ".num_heads",
          absl::StrCat("is ", random.num_heads, "; it must divide hidden_size, ", random.hidden_size));
    }
    if (random.num_kv_heads > 0 && random.num_heads % random.num_kv_heads != 0) {
      Add(key + ".num_kv_heads",
          absl::StrCat("is ", random.num_kv_heads, "; it must divide num_heads, ", random.num_heads));
    }
  }

  const Section root_;
  // Absolute; relative paths start here.
  const std::string folder_;
  LoadedConfig& loaded_;
  RunConfig& config_;
  std::vector<absl::Status> errors_;
  // Each with its whole key.
  std::vector<Reference> references_;
  // Key and path of what must be there.
  std::vector<std::pair<std::string, std::string>> files_;
  // Each with its whole key.
  std::vector<RuleReference> rules_;
};

absl::StatusOr<LoadedConfig> LoadUnrolled(const Section& given, const std::string& folder, int64_t max_rounds) {
  ASSIGN_OR_RETURN(Section root, UnrollRepeats(given, max_rounds));
  LoadedConfig loaded;
  Checker checker(std::move(root), folder, &loaded);
  checker.Load();
  RETURN_IF_ERROR(checker.status());
  checker.CheckReferences();
  RETURN_IF_ERROR(checker.status());
  loaded.resolved_yaml = ResolvedYaml(loaded.config);
  loaded.sha256 = Sha256Hex(loaded.resolved_yaml);
  return loaded;
}

}  // namespace

std::string ResolvedYaml(const RunConfig& config) {
  return DumpOptions(config);
}

absl::StatusOr<LoadedConfig> LoadRunConfig(const std::string& path, const std::vector<std::string>& overrides) {
  ASSIGN_OR_RETURN(const Section given, ParseConfigFile(path, overrides));
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  if (error) return absl::InternalError(absl::StrCat("cannot find the working folder: ", error.message()));
  const std::string folder = absolute.parent_path().string();
  absl::StatusOr<LoadedConfig> loaded = LoadUnrolled(given, folder, std::numeric_limits<int64_t>::max());
  if (loaded.ok() || !HasRepeat(given)) return loaded;
  // What is wrong with a repeated stage is wrong in every round, and said once.
  const absl::StatusOr<LoadedConfig> first_round = LoadUnrolled(given, folder, 1);
  return first_round.ok() ? loaded.status() : first_round.status();
}

RunConfig ReadRunConfig(const std::string& path) {
  RunConfig config;
  const absl::StatusOr<Section> section = ParseConfigFile(path);
  if (section.ok()) LoadOptions(*section, &config).IgnoreError();
  for (ConfiguredStage& configured : config.stages) {
    const absl::StatusOr<const StagePlugin*> plugin = Stages().Find(configured.type);
    if (!plugin.ok()) continue;
    absl::StatusOr<std::unique_ptr<Stage>> stage = (*plugin)->make(configured.options);
    if (stage.ok()) configured.stage = *std::move(stage);
  }
  return config;
}

}  // namespace grpo
