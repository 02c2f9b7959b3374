#include "trainer/round_names.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace grpo {
namespace {

using Kind = ConfigNode::Kind;

}  // namespace

std::string Round::Prefix() const {
  return number == 0 ? "" : absl::StrCat(repeat, "-", number, "-");
}

std::string TextAt(const ConfigNode& map, absl::string_view key) {
  const ConfigEntry* const entry = map.Find(key);
  return entry == nullptr || entry->value.kind != Kind::kScalar ? "" : entry->value.scalar;
}

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

void RoundNames::Rename(const Stage& stage, const std::string& path, const Round& round, ConfigNode* node) {
  const std::optional<LearnerSpec> learner = stage.learner();
  std::vector<std::string> written;
  for (const Reference& reference : stage.references()) {
    if (reference.value.empty()) continue;
    const std::string key = absl::StrCat(path, ".", reference.key);
    if (reference.section == "data") {
      SetText(node, reference.key, NewestData(reference.value, round, key));
    } else if (reference.section == "policies") {
      const bool is_trained = learner.has_value() && learner->policy == reference.value;
      SetText(node, reference.key, NewestPolicy(reference.value, round, is_trained, key));
    } else if (reference.section == "artifacts") {
      SetText(node, reference.key, OwnArtifact(reference.value, round, key));
      if (FindIn("artifacts", reference.value) != nullptr) written.push_back(reference.value);
    }
  }
  for (const std::string& artifact : written) {
    std::vector<Round>& rounds = written_[artifact];
    if (rounds.empty() || rounds.back().Prefix() != round.Prefix()) rounds.push_back(round);
  }
}

const ConfigEntry* RoundNames::FindIn(const std::string& section, const std::string& name) const {
  const ConfigEntry* const map = root_.Find(section);
  return map == nullptr ? nullptr : map->value.Find(name);
}

// Adds an entry that a round makes, once. Where the file itself has taken its name that is an error.
void RoundNames::AddMade(const std::string& section, ConfigEntry made, const std::string& key) {
  const std::string path = absl::StrCat(section, ".", made.key);
  if (!made_.insert(path).second) return;
  if (FindIn(section, made.key) != nullptr) {
    Add(path, absl::StrCat("has the name that ", key, " takes in a round of its repeat; give it another"));
    return;
  }
  root_.Find(section)->value.entries.push_back(std::move(made));
}

// `what` ("data.traces"), which round `made` makes, is read by `reader`.
void RoundNames::CheckIsThere(const std::string& what, const Round& made, const Round& reader, const std::string& key) {
  if (!made.may_be_left_out || made.repeat == reader.repeat) return;
  Add(key, absl::StrCat("is ", what, ", which round ", made.number, " of ", made.repeat,
                        " makes, and its `until` may leave that round out; read it in a stage of the rounds, or remove "
                        "`until`"));
}

// What the round's stage writes under this name: an artifact of the round's own.
std::string RoundNames::OwnArtifact(const std::string& artifact, const Round& round, const std::string& key) {
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

// The policy that the round has made anew.
std::string RoundNames::PolicyOf(const std::string& policy, const Round& made, const std::string& key) {
  if (made.number == 0) return policy;
  // A copy, since making what it is initialised from may move it.
  ConfigEntry entry = *FindIn("policies", policy);
  entry.key = made.Prefix() + policy;
  const std::string origin = TextAt(entry.value, "initialize_from");
  if (made.fresh.count(origin) > 0 && origin != policy)
    SetText(&entry.value, "initialize_from", NewestPolicy(origin, made, /*is_trained=*/false, key));
  const std::string name = entry.key;
  AddMade("policies", std::move(entry), key);
  return name;
}

// What `reader` reads, or trains, under this name by now.
std::string RoundNames::NewestPolicy(const std::string& policy, const Round& reader, bool is_trained,
                                     const std::string& key) {
  if (FindIn("policies", policy) == nullptr) return policy;
  // Before it is trained in a round, there is only the previous round's.
  if (reader.fresh.count(policy) > 0 && (is_trained || reader.fresh_trained.count(policy) == 0))
    newest_policies_[policy] = reader;
  const auto newest = newest_policies_.find(policy);
  if (newest == newest_policies_.end()) return policy;
  const Round made = newest->second;
  CheckIsThere(absl::StrCat("policies.", policy), made, reader, key);
  return PolicyOf(policy, made, key);
}

// The entry of `data` as `written` has written it.
std::string RoundNames::DataOf(const std::string& data, const Round& written, const Round& reader,
                               const std::string& key) {
  if (written.number == 0) return data;
  CheckIsThere(absl::StrCat("data.", data), written, reader, key);
  ConfigEntry made = *FindIn("data", data);
  made.key = written.Prefix() + data;
  SetText(&made.value, "artifact", written.Prefix() + TextAt(made.value, "artifact"));
  const std::string name = made.key;
  AddMade("data", std::move(made), key);
  return name;
}

// What `reader` reads under this name by now.
std::string RoundNames::NewestData(const std::string& data, const Round& reader, const std::string& key) {
  const ConfigEntry* const entry = FindIn("data", data);
  if (entry == nullptr) return data;
  const auto written = written_.find(TextAt(entry->value, "artifact"));
  if (written != written_.end()) return DataOf(data, written->second.back(), reader, key);
  const std::string source = TextAt(entry->value, "source");
  if (source == "union" || source == "mix") return NewestParts(*entry, reader, key);
  return data;
}

// The same of a union or mix: an entry with the parts of now, unless they are those that it had. A copy is taken, since
// making entries moves them.
std::string RoundNames::NewestParts(ConfigEntry entry, const Round& reader, const std::string& key) {
  const std::string data = entry.key;
  ConfigEntry* const parts = entry.value.Find(TextAt(entry.value, "source") == "union" ? "of" : "mix");
  if (parts == nullptr) return data;
  const bool in_list = parts->value.kind == Kind::kList;
  std::vector<ConfigEntry> newest;
  std::vector<std::string> names;
  bool changed = false;
  for (const ConfigEntry& part : parts->value.entries) {
    const std::string& given = in_list ? part.value.scalar : part.key;
    for (const std::string& name : PartNames(given, in_list, reader, key)) {
      changed = changed || name != given;
      names.push_back(name);
      ConfigEntry& made = newest.emplace_back(part);
      (in_list ? made.value.scalar : made.key) = name;
    }
  }
  if (!changed) return data;
  parts->value.entries = std::move(newest);
  entry.key = NameOfParts(data, reader, absl::StrJoin(names, " "));
  const std::string name = entry.key;
  AddMade("data", std::move(entry), key);
  return name;
}

// Of a union all that was written, of a mix (and of what no round writes) the newest.
std::vector<std::string> RoundNames::PartNames(const std::string& part, bool all, const Round& reader,
                                               const std::string& key) {
  const ConfigEntry* const entry = FindIn("data", part);
  const auto written = entry == nullptr ? written_.end() : written_.find(TextAt(entry->value, "artifact"));
  if (!all || written == written_.end()) return {NewestData(part, reader, key)};
  std::vector<std::string> names;
  for (const Round& round : written->second) names.push_back(DataOf(part, round, reader, key));
  return names;
}

// A name of its own for each set of parts: by the round that reads it, or, behind a repeat, by "newest".
std::string RoundNames::NameOfParts(const std::string& data, const Round& reader, const std::string& parts) {
  const std::string first = (reader.number == 0 ? std::string("newest-") : reader.Prefix()) + data;
  for (int64_t i = 1;; ++i) {
    const std::string name = i == 1 ? first : absl::StrCat(first, "-", i);
    const auto [known, is_new] = parts_.emplace(name, parts);
    if (is_new || known->second == parts) return name;
  }
}

}  // namespace grpo
