// What the stages of a run will need, checked before the first of them begins: data and their lengths, reference
// answers, vocabularies, weights, room on the disk (disk_need.h), memory (memory_need.h). `grpoctl validate`, `grpoctl
// run` and the trainer all ask here. What only an earlier stage writes is checked before the stage that reads it
// begins. Links no torch.
#ifndef GRPO_TRAINER_PREFLIGHT_H_
#define GRPO_TRAINER_PREFLIGHT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainer/policy_shape.h"
#include "trainer/references.h"
#include "trainer/run_config.h"
#include "trainer/stage/files.h"
#include "trainer/stage/stage.h"

namespace grpo {

// What was found about one use of data.
struct CheckedData {
  std::string stage;
  DataUse use;
  // The stage that writes the data, or a part of them: nothing was checked yet. Empty for all others.
  std::string written_by = {};
  int64_t num_items = 0;
  // Of the longest prompt, document or trace.
  int64_t longest_tokens = 0;
  // Reference answers that rules looked at, and that they could not read.
  int64_t num_answers = 0, num_unreadable = 0;
  // ReferenceAudit::Summary.
  std::string unreadable = {};
};

// What the tokens of some items of an entry of `data` are like.
struct TokenLengths {
  int64_t num_items = 0, longest = 0;
  std::string longest_id = {};
  // Of an item without tokens; empty when there is none.
  std::string empty_id = {};
};

// A sentence for each count of unreadable answers, and for each check that has to wait.
std::vector<std::string> Notes(const std::vector<CheckedData>& checked);

// Remembers what it has read. One thread.
class Preflight {
 public:
  // Of a configuration that LoadRunConfig made, which outlives this.
  explicit Preflight(const RunConfig& config) : config_(config) {}

  // All that the stages from `first_stage` on need and that is there by now. The policies `made` need no files any
  // more. Errors of all stages together, each with its stage; InvalidArgument for what the user has to change.
  absl::StatusOr<std::vector<CheckedData>> CheckAhead(const RunFiles& files, int64_t first_stage = 0,
                                                      const std::set<std::string>& made = {});
  // What that left for later of this stage, which is about to begin.
  absl::StatusOr<std::vector<CheckedData>> CheckBefore(const RunFiles& files, int64_t stage_index);

  // ReadPolicyShape, read once.
  absl::StatusOr<const PolicyShape*> Shape(const std::string& policy);

 private:
  absl::Status CheckPolicies(const ConfiguredStage& stage, const std::set<std::string>& made);
  // For a use that asks for stored top-k, by stage `stage_index`: that a stage before it stores as much, of a policy
  // with the same tokens, and, where that stage is before `first_stage` and has run, that it is there.
  absl::Status CheckTopKAhead(const RunFiles& files, const DataUse& use, int64_t stage_index, int64_t first_stage);
  // That what is stored is whole, and the learner's.
  absl::Status CheckTopKFiles(const RunFiles& files, const DataUse& use);
  // That the stage's policy has as many tokens as it is to store.
  absl::Status CheckTopKOutput(const ConfiguredStage& stage);
  // That the policies which are only read have the tokens of the one that is trained, and its positions.
  absl::Status CheckFrozen(const ConfiguredStage& stage, int64_t needed_positions);
  absl::StatusOr<const DataSource*> Open(const RunFiles& files, const std::string& data);
  absl::StatusOr<CheckedData> CheckUse(const RunFiles& files, const std::string& stage, const DataUse& use);
  absl::StatusOr<const TokenLengths*> Measure(const DataUse& use, const DataSource& source, int64_t count);
  absl::Status CheckReferences(const DataSource& source, int64_t count, CheckedData* checked);
  // The stage before `stage_index` that writes the data, or a part of them.
  std::string WriterOf(const std::string& data, int64_t stage_index) const;

  const RunConfig& config_;
  // By origin.
  std::map<std::string, PolicyShape> shapes_;
  // By name, while stages are checked one after the other.
  std::map<std::string, std::unique_ptr<DataSource>> open_;
  // By data, origin of the policy, kind, and number of items.
  std::map<std::tuple<std::string, std::string, DataUse::Kind, int64_t>, absl::StatusOr<TokenLengths>> lengths_;
  struct Profile {
    std::unique_ptr<RewardProfile> rules;
    std::unique_ptr<ReferenceAudit> audit;
  };
  // By data, rewards, number of items, and whether answers may lack.
  std::map<std::tuple<std::string, std::string, int64_t, bool>, Profile> audits_;
};

// The names of the entries of `data` that hold what a stage reads under this name: itself, or the sources that it
// mixes or unites.
std::vector<std::string> DataParts(const RunConfig& config, const std::string& data);
// Those of all that the stage refers to.
std::vector<std::string> DataReadBy(const RunConfig& config, const ConfiguredStage& stage);

}  // namespace grpo

#endif  // GRPO_TRAINER_PREFLIGHT_H_
