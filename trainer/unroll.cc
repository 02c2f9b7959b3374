#include "trainer/unroll.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "configs/load.h"
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

// Empty where the map has no such text.
std::string TextAt(const ConfigNode& map, absl::string_view key) {
  const ConfigEntry* const entry = map.Find(key);
  return entry == nullptr || entry->value.kind != Kind::kScalar ? "" : entry->value.scalar;
}

// Replaces the text at a dotted key, which may hold positions of lists; nothing where there is none.
void SetText(ConfigNode* node, const std::string& key, const std::string& text) {
  for (const absl::string_view part : absl::StrSplit(key, '.')) {
    size_t index = 0;
    if (node->kind == Kind::kList && absl::SimpleAtoi(part, &index) && index < node->entries.size()) {
      node = &node->entries[index].value;
      continue;
    }
    ConfigEntry* const entry = node->Find(part);
    if (entry == nullptr) return;
    node = &entry->value;
  }
  if (node->kind == Kind::kScalar) node->scalar = text;
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

// A round that is being unrolled; the default is no round.
struct Round {
  std::string repeat = {};
  int64_t number = 0;
  // Whether `until` may leave it out.
  bool may_be_left_out = false;

  // Stands before the names of its artifacts and data.
  std::string Prefix() const { return number == 0 ? "" : absl::StrCat(repeat, "-", number, "-"); }
};

class Unroller {
 public:
  Unroller(const Section& given, int64_t max_rounds) : given_(given), max_rounds_(max_rounds), root_(*given.node()) {}

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
    RETURN_IF_ERROR(JoinErrors(errors_));
    root_.Find("stages")->value.entries = std::move(unrolled_);
    return Section(std::make_shared<const ConfigNode>(std::move(root_)), given_.key_path(), given_.outer_keys());
  }

 private:
  void Add(absl::string_view key, absl::string_view message) { errors_.push_back(SectionError(given_, key, message)); }

  GivenStage ReadLeniently(ConfigEntry entry, const std::string& path) const {
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
    if (until != nullptr) CheckUntil(options.until, stages, path);
    if (HasErrors(num_errors)) return;
    AddRounds(options.name, options.times, until, entry);
    for (int64_t number = 1; number <= std::min(options.times, max_rounds_); ++number) {
      // The first decision falls at the end of round 2.
      const Round round{.repeat = options.name, .number = number, .may_be_left_out = until != nullptr && number > 2};
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
    if (given.stage != nullptr) {
      std::vector<std::string> written;
      for (const Reference& reference : given.stage->references()) {
        if (reference.value.empty()) continue;
        if (reference.section == "data") {
          const std::string name = NewestData(reference.value, round, given.path + "." + reference.key);
          SetText(&given.entry.value, reference.key, name);
        } else if (reference.section == "artifacts") {
          const std::string name = OwnArtifact(reference.value, round, given.path + "." + reference.key);
          SetText(&given.entry.value, reference.key, name);
          if (FindIn("artifacts", reference.value) != nullptr) written.push_back(reference.value);
        }
      }
      for (const std::string& artifact : written) {
        std::vector<Round>& rounds = written_[artifact];
        if (rounds.empty() || rounds.back().Prefix() != round.Prefix()) rounds.push_back(round);
      }
    }
    unrolled_.push_back(std::move(given.entry));
  }

  // An entry of `data` or `artifacts`; null when there is none.
  const ConfigEntry* FindIn(const std::string& section, const std::string& name) const {
    const ConfigEntry* const map = root_.Find(section);
    return map == nullptr ? nullptr : map->value.Find(name);
  }

  // Adds an entry that a repeat makes, once. Of a name that the file itself has taken it is an error at `key`.
  void AddMade(const std::string& section, ConfigEntry made, const std::string& key) {
    const std::string path = absl::StrCat(section, ".", made.key);
    if (!made_.insert(path).second) return;
    if (FindIn(section, made.key) != nullptr) {
      Add(path, absl::StrCat("has the name that ", key, " takes in a round of its repeat; give it another"));
      return;
    }
    root_.Find(section)->value.entries.push_back(std::move(made));
  }

  // What the round's stage writes under this name: an artifact of the round's own.
  std::string OwnArtifact(const std::string& artifact, const Round& round, const std::string& key) {
    const ConfigEntry* const entry = FindIn("artifacts", artifact);
    // That there is none is said when references are checked.
    if (round.number == 0 || entry == nullptr) return artifact;
    ConfigEntry made = *entry;
    made.key = round.Prefix() + artifact;
    // A path that is no place in the run folder is refused as it stands.
    const std::string path = TextAt(made.value, "path");
    if (!path.empty() && path[0] != '/')
      SetText(&made.value, "path", absl::StrCat(round.repeat, ".", round.number, "/", path));
    const std::string name = made.key;
    AddMade("artifacts", std::move(made), key);
    return name;
  }

  // The entry of `data` as `written` has written it.
  std::string DataOf(const std::string& data, const Round& written, const Round& reader, const std::string& key) {
    if (written.number == 0) return data;
    if (written.may_be_left_out && written.repeat != reader.repeat) {
      Add(key, absl::StrCat("is data.", data, ", which round ", written.number, " of ", written.repeat,
                            " writes, and its `until` may leave that round out; read it in a stage of the rounds, or "
                            "remove `until`"));
    }
    ConfigEntry made = *FindIn("data", data);
    made.key = written.Prefix() + data;
    SetText(&made.value, "artifact", written.Prefix() + TextAt(made.value, "artifact"));
    const std::string name = made.key;
    AddMade("data", std::move(made), key);
    return name;
  }

  // What `reader` reads under this name by now.
  std::string NewestData(const std::string& data, const Round& reader, const std::string& key) {
    const ConfigEntry* const entry = FindIn("data", data);
    if (entry == nullptr) return data;
    const auto written = written_.find(TextAt(entry->value, "artifact"));
    if (written != written_.end()) return DataOf(data, written->second.back(), reader, key);
    const std::string source = TextAt(entry->value, "source");
    if (source == "union" || source == "mix") return NewestParts(*entry, reader, key);
    return data;
  }

  // The same of a union or mix: an entry with this round's parts, unless they are those that it had. A copy is taken,
  // since making entries moves them.
  std::string NewestParts(ConfigEntry entry, const Round& reader, const std::string& key) {
    const std::string data = entry.key;
    ConfigEntry* const parts = entry.value.Find(TextAt(entry.value, "source") == "union" ? "of" : "mix");
    if (parts == nullptr) return data;
    std::vector<ConfigEntry> newest;
    bool changed = false;
    for (const ConfigEntry& part : parts->value.entries) {
      const bool in_list = parts->value.kind == Kind::kList;
      for (const std::string& name : PartNames(in_list ? part.value.scalar : part.key, in_list, reader, key)) {
        ConfigEntry& made = newest.emplace_back(part);
        std::string& text = in_list ? made.value.scalar : made.key;
        changed = changed || text != name;
        text = name;
      }
    }
    if (!changed) return data;
    std::vector<std::string> names;
    for (const ConfigEntry& part : newest) names.push_back(part.key.empty() ? part.value.scalar : part.key);
    parts->value.entries = std::move(newest);
    entry.key = NameOfParts(data, reader, absl::StrJoin(names, " "));
    const std::string name = entry.key;
    AddMade("data", std::move(entry), key);
    return name;
  }

  // Of a union all that was written, of a mix (and of what no round writes) the newest.
  std::vector<std::string> PartNames(const std::string& part, bool all, const Round& reader, const std::string& key) {
    const ConfigEntry* const entry = FindIn("data", part);
    const auto written = entry == nullptr ? written_.end() : written_.find(TextAt(entry->value, "artifact"));
    if (!all || written == written_.end()) return {NewestData(part, reader, key)};
    std::vector<std::string> names;
    for (const Round& round : written->second) names.push_back(DataOf(part, round, reader, key));
    return names;
  }

  // A name of its own for each set of parts: by the round that reads it, or, behind a repeat, by "now".
  std::string NameOfParts(const std::string& data, const Round& reader, const std::string& parts) {
    const std::string first = (reader.number == 0 ? std::string("newest-") : reader.Prefix()) + data;
    for (int64_t i = 1;; ++i) {
      const std::string name = i == 1 ? first : absl::StrCat(first, "-", i);
      const auto [known, is_new] = parts_.emplace(name, parts);
      if (is_new || known->second == parts) return name;
    }
  }

  const Section& given_;
  const int64_t max_rounds_;
  // What it becomes.
  ConfigNode root_;
  std::vector<ConfigEntry> unrolled_;
  std::vector<absl::Status> errors_;
  // By artifact: who has written it so far, in order.
  std::map<std::string, std::vector<Round>> written_;
  // "data.flywheel-1-traces": what was added.
  std::set<std::string> made_;
  // Parts of the unions and mixes that were added, by name.
  std::map<std::string, std::string> parts_;
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
