#include "trainer/unroll.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/round_names.h"
#include "trainer/rounds.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

using Kind = ConfigNode::Kind;

constexpr size_t kMaxNameBytes = 32;

// A part of keys, which dots separate, and of file names.
bool IsName(const std::string& name) {
  const auto allowed = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= kMaxNameBytes && absl::ascii_isalnum(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(), allowed);
}

// InvalidArgument for keys that its type refuses.
absl::StatusOr<std::unique_ptr<Stage>> ReadStage(const Section& section, ConfiguredStage* configured) {
  RETURN_IF_ERROR(LoadOptions(section, configured));
  ASSIGN_OR_RETURN(const StagePlugin* const plugin, Stages().Find(configured->type));
  return plugin->make(configured->options);
}

// A stage of a repeat, or one beside.
struct GivenStage {
  // Where it was given: "stages.2" or "stages.3.repeat.stages.0".
  std::string path = {};
  ConfigEntry entry = {};
  std::string name = {}, type = {};
  // Null for one that cannot be read and stands in no repeat: that is said later, with everything else.
  std::shared_ptr<const Stage> stage = {};
};

class Unroller {
 public:
  Unroller(const Section& given, int64_t max_rounds)
      : given_(given), max_rounds_(max_rounds), root_(*given.node()), names_(given, &root_) {}

  absl::StatusOr<Section> Run() {
    std::vector<ConfigEntry> given;
    given.swap(root_.Find("stages")->value.entries);
    for (size_t i = 0; i < given.size(); ++i) {
      const std::string path = absl::StrCat("stages.", i);
      if (given[i].value.Find("repeat") != nullptr) {
        AddRepeat(given[i], path);
      } else {
        AddStage(ReadLeniently(std::move(given[i]), path), Round());
      }
    }
    RETURN_IF_ERROR(JoinErrors({JoinErrors(errors_), JoinErrors(names_.errors())}));
    root_.Find("stages")->value.entries = std::move(unrolled_);
    return Section(std::make_shared<const ConfigNode>(std::move(root_)), given_.key_path(), given_.outer_keys());
  }

 private:
  void Add(absl::string_view key, absl::string_view message) { errors_.push_back(SectionError(given_, key, message)); }

  static GivenStage ReadLeniently(ConfigEntry entry, const std::string& path) {
    GivenStage read{.path = path, .entry = std::move(entry)};
    ConfiguredStage configured;
    auto stage = ReadStage(Section(std::make_shared<const ConfigNode>(read.entry.value), path), &configured);
    if (stage.ok()) read.stage = *std::move(stage);
    return read;
  }

  // --- A repeat ---

  void AddRepeat(const ConfigEntry& entry, const std::string& stage_path) {
    const std::string path = absl::StrCat(stage_path, ".repeat");
    const size_t num_errors = errors_.size();
    for (const ConfigEntry& other : entry.value.entries) {
      if (other.key == "repeat") continue;
      Add(absl::StrCat(stage_path, ".", other.key), "stands beside `repeat`, which stands alone: move it inside");
    }
    const ConfigNode& node = entry.value.Find("repeat")->value;
    RepeatOptions options;
    errors_.push_back(LoadOptions(Section(std::make_shared<const ConfigNode>(node), path), &options));
    if (node.Find("stages") != nullptr && options.stages.empty())
      Add(path + ".stages", "is empty; a round has a stage");
    const std::vector<GivenStage> stages = ReadRepeated(options, path);
    if (HasErrors(num_errors)) return;
    const ConfigEntry* const until = node.Find("until");
    CheckName(options, path);
    CheckFresh(options.fresh_policies, path);
    if (until != nullptr) CheckUntil(options.until, stages, path);
    if (HasErrors(num_errors)) return;
    AddRounds(options.name, options.times, until, entry);
    Round round{.repeat = options.name,
                .fresh = {options.fresh_policies.begin(), options.fresh_policies.end()},
                .fresh_trained = FreshTrained(options, stages)};
    for (int64_t number = 1; number <= std::min(options.times, max_rounds_); ++number) {
      // The first decision falls at the end of round 2.
      round.number = number;
      round.may_be_left_out = until != nullptr && number > 2;
      for (const GivenStage& given : stages) {
        GivenStage stage = given;
        SetText(&stage.entry.value, "name", RoundStageName(options.name, number, given.name));
        AddStage(std::move(stage), round);
      }
    }
  }

  bool HasErrors(size_t since) const {
    return std::any_of(errors_.begin() + static_cast<std::ptrdiff_t>(since), errors_.end(),
                       [](const absl::Status& status) { return !status.ok(); });
  }

  std::vector<GivenStage> ReadRepeated(const RepeatOptions& options, const std::string& path) {
    std::vector<GivenStage> stages;
    for (size_t i = 0; i < options.stages.size(); ++i) {
      const Section& section = options.stages[i].stage;
      // That it is no map has been said.
      if (section.node() == nullptr) continue;
      const std::string key = absl::StrCat(path, ".stages.", i);
      if (section.node()->Find("repeat") != nullptr) {
        Add(key + ".repeat", "stands inside another repeat; put its stages there, or the whole behind it");
        continue;
      }
      GivenStage& given =
          stages.emplace_back(GivenStage{.path = key, .entry = {.key = "", .place = "", .value = *section.node()}});
      ConfiguredStage configured;
      auto stage = ReadStage(section, &configured);
      errors_.push_back(stage.status());
      given.name = configured.name;
      given.type = configured.type;
      if (stage.ok()) given.stage = *std::move(stage);
    }
    return stages;
  }

  void CheckName(const RepeatOptions& options, const std::string& path) {
    if (!IsName(options.name)) {
      Add(path + ".name",
          absl::StrCat("is \"", options.name, "\" and begins the names of stages and folders; use up to ",
                       kMaxNameBytes, " letters, digits, _ and -, beginning with a letter or digit"));
      return;
    }
    const ConfigEntry* const rounds = root_.Find("rounds");
    if (rounds != nullptr && rounds->value.Find(options.name) != nullptr)
      Add(path + ".name", absl::StrCat("is ", options.name, ", as another repeat is called; give each its own name"));
  }

  void CheckFresh(const std::vector<std::string>& policies, const std::string& path) {
    std::vector<std::string> known;
    if (const ConfigEntry* const all = root_.Find("policies"); all != nullptr) {
      for (const ConfigEntry& policy : all->value.entries) known.push_back(policy.key);
    }
    for (size_t i = 0; i < policies.size(); ++i) {
      if (std::count(known.begin(), known.end(), policies[i]) > 0) continue;
      Add(absl::StrCat(path, ".fresh_policies.", i),
          absl::StrCat("there is no policies.", policies[i], "; ", SuggestName(policies[i], known)));
    }
  }

  static std::set<std::string> FreshTrained(const RepeatOptions& options, const std::vector<GivenStage>& stages) {
    std::set<std::string> trained;
    for (const GivenStage& stage : stages) {
      const std::optional<LearnerSpec> learner = stage.stage->learner();
      if (learner.has_value() &&
          std::count(options.fresh_policies.begin(), options.fresh_policies.end(), learner->policy) > 0) {
        trained.insert(learner->policy);
      }
    }
    return trained;
  }

  void CheckUntil(const UntilOptions& until, const std::vector<GivenStage>& stages, const std::string& path) {
    std::vector<std::string> names;
    for (const GivenStage& stage : stages) names.push_back(stage.name);
    const auto found = std::find(names.begin(), names.end(), until.stage);
    if (found == names.end()) {
      Add(path + ".until.stage",
          absl::StrCat("there is no stage ", until.stage, " in this repeat; ", SuggestName(until.stage, names)));
      return;
    }
    const GivenStage& stage = stages[static_cast<size_t>(found - names.begin())];
    const std::vector<MetricPattern>& measures = StageViewOf(stage.type).measures;
    if (measures.empty()) {
      Add(path + ".until.stage", absl::StrCat("is ", until.stage, ", a stage of type ", stage.type,
                                              ", which measures nothing; name one of type ", MeasuringTypes()));
    } else if (std::none_of(measures.begin(), measures.end(), [&until](const MetricPattern& pattern) {
                 return MatchMetric(pattern, until.metric).has_value();
               })) {
      Add(path + ".until.metric", absl::StrCat("there is no metric ", until.metric, " of which a stage of type ",
                                               stage.type, " wants more; ", SuggestName(until.metric, measures)));
    }
  }

  static std::string MeasuringTypes() {
    std::vector<std::string> types;
    for (const auto& [type, plugin] : Stages().entries()) {
      if (!plugin.view.measures.empty()) types.push_back(type);
    }
    return absl::StrJoin(types, " or ");
  }

  // What the repeat said, kept for the trainer. `until` may be null.
  void AddRounds(const std::string& name, int64_t times, const ConfigEntry* until, const ConfigEntry& repeat) {
    if (root_.Find("rounds") == nullptr) root_.entries.push_back({.key = "rounds", .place = repeat.value.place});
    ConfigNode& rounds = root_.Find("rounds")->value;
    if (rounds.kind == Kind::kNull) rounds = {.kind = Kind::kMap, .place = repeat.value.place};
    ConfigNode value{.kind = Kind::kMap, .place = repeat.value.place};
    value.entries.push_back({.key = "times", .value = configs_internal::ScalarNode(times)});
    if (until != nullptr) value.entries.push_back(*until);
    rounds.entries.push_back({.key = name, .place = repeat.value.place, .value = std::move(value)});
  }

  // --- One stage, with the names that hold for it ---

  void AddStage(GivenStage given, const Round& round) {
    if (given.stage != nullptr) names_.Rename(*given.stage, given.path, round, &given.entry.value);
    unrolled_.push_back(std::move(given.entry));
  }

  const Section& given_;
  const int64_t max_rounds_;
  // What it becomes.
  ConfigNode root_;
  std::vector<ConfigEntry> unrolled_;
  std::vector<absl::Status> errors_;
  RoundNames names_;
};

const ConfigEntry* StageList(const Section& root) {
  const ConfigEntry* const stages = root.node() == nullptr ? nullptr : root.node()->Find("stages");
  return stages == nullptr || stages->value.kind != Kind::kList ? nullptr : stages;
}

}  // namespace

bool HasRepeat(const Section& root) {
  const ConfigEntry* const stages = StageList(root);
  return stages != nullptr &&
         std::any_of(stages->value.entries.begin(), stages->value.entries.end(),
                     [](const ConfigEntry& stage) { return stage.value.Find("repeat") != nullptr; });
}

absl::StatusOr<Section> UnrollRepeats(const Section& root, int64_t max_rounds) {
  if (!HasRepeat(root)) return root;
  return Unroller(root, max_rounds).Run();
}

}  // namespace grpo
