// What names stand for while repeats are unrolled (trainer/unroll.h says by which rules): artifacts, data and policies
// of a round's own are added to the configuration, and a stage's keys are made to name them. Links no torch. One
// thread.
#ifndef GRPO_TRAINER_ROUND_NAMES_H_
#define GRPO_TRAINER_ROUND_NAMES_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "configs/load.h"
#include "trainer/stage/stage.h"

namespace grpo {

// A round that is being unrolled; the default is no round.
struct Round {
  std::string repeat = {};
  int64_t number = 0;
  // Whether `until` may leave it out.
  bool may_be_left_out = false;
  // RepeatOptions::fresh_policies, and those of them that a stage of the repeat trains.
  std::set<std::string> fresh = {}, fresh_trained = {};

  // Stands before the names of its artifacts, data and policies.
  std::string Prefix() const;
};

// The text at a key of a map; empty where there is none.
std::string TextAt(const ConfigNode& map, absl::string_view key);
// Replaces the text at a dotted key, which may hold positions of lists; nothing where there is none.
void SetText(ConfigNode* node, const std::string& key, const std::string& text);

class RoundNames {
 public:
  // `root` is what becomes of `given`: entries are added to it. Both outlive this.
  RoundNames(const Section& given, ConfigNode* root) : given_(given), root_(*root) {}

  // Of the stage that runs next. `node` is the stage as it was given at `path`: its keys are set to what they name in
  // `round`.
  void Rename(const Stage& stage, const std::string& path, const Round& round, ConfigNode* node);

  // An entry of `policies`, `data` or `artifacts`; null when there is none.
  const ConfigEntry* FindIn(const std::string& section, const std::string& name) const;

  // What was found wrong, in order, each with its place.
  const std::vector<absl::Status>& errors() const { return errors_; }

 private:
  void Add(absl::string_view key, absl::string_view message) { errors_.push_back(SectionError(given_, key, message)); }
  void AddMade(const std::string& section, ConfigEntry made, const std::string& key);
  void CheckIsThere(const std::string& what, const Round& made, const Round& reader, const std::string& key);
  std::string OwnArtifact(const std::string& artifact, const Round& round, const std::string& key);
  std::string PolicyOf(const std::string& policy, const Round& made, const std::string& key);
  std::string NewestPolicy(const std::string& policy, const Round& reader, bool is_trained, const std::string& key);
  std::string DataOf(const std::string& data, const Round& written, const Round& reader, const std::string& key);
  std::string NewestData(const std::string& data, const Round& reader, const std::string& key);
  std::string NewestParts(ConfigEntry entry, const Round& reader, const std::string& key);
  std::vector<std::string> PartNames(const std::string& part, bool all, const Round& reader, const std::string& key);
  std::string NameOfParts(const std::string& data, const Round& reader, const std::string& parts);

  const Section& given_;
  ConfigNode& root_;
  std::vector<absl::Status> errors_;
  // By artifact: who has written it so far, in order.
  std::map<std::string, std::vector<Round>> written_;
  // By policy that rounds make anew: the newest round that has one of its own.
  std::map<std::string, Round> newest_policies_;
  // "data.flywheel-1-traces": what was added.
  std::set<std::string> made_;
  // Parts of the unions and mixes that were added, by name.
  std::map<std::string, std::string> parts_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ROUND_NAMES_H_
