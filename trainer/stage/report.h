// What a stage says when it has ended. summary.json, the checkpoints' state.json, the status on the wire and the tables
// of grpoctl are all made of it, here and nowhere else. Links no torch. Pure; any thread.
#ifndef GRPO_TRAINER_STAGE_REPORT_H_
#define GRPO_TRAINER_STAGE_REPORT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"
#include "proto/trainer.pb.h"
#include "trainer/records/spending.h"

namespace grpo {

// What one stage of a run came to. Plain data.
struct StageReport {
  // --- Filled by whoever runs the stage ---
  std::string name = {}, type = {};
  // Of a stage of a `repeat` (trainer/rounds.h): the repeat's name and the round, from 1. Empty and 0 for all others.
  std::string repeat = {};
  int64_t round = 0;
  // Why the stage did not run, its round being one that `until` left out; empty for a stage that ran.
  std::string left_out = {};
  // What it took, over all starts of the run, with what a kill undid (trainer/records/spending.h). Wall seconds.
  double seconds = 0;
  // 0: who wrote this did not count.
  int64_t starts = 0;
  // Tokens that were sampled or trained on, and what endpoints asked for.
  double tokens = 0, usd = 0;
  // Names of earlier stages of the run on which it built (trainer/lineage.h): the one that trained its policy last, or
  // what that was initialised from; those that wrote what it read; those that trained its teachers.
  std::string weights_from = {};
  std::vector<std::string> learned_from = {}, taught_by = {};
  // The teachers themselves: keys under `policies`.
  std::vector<std::string> teachers = {};

  // --- Filled by the stage ---
  // The policy that it changed, or that it sampled, and PolicyRef.number at its end.
  std::string policy = {};
  int64_t policy_number = 0;
  // Steps or groups, as StageStatus counts them.
  int64_t steps = 0;
  // Of a stage that measures: in words, everything that its figures depend on beside the policy. Figures of two stages
  // are comparable where it is the same.
  std::string conditions = {};
  // Finite numbers under the names of metrics.jsonl. What could not be measured is left out.
  std::map<std::string, double> metrics = {};
  // Absolute path of what was written for use outside the run; empty for nothing.
  std::string exported_to = {};
  // Key under `artifacts`, and SHA-256 (hex), of data that stages after this one may read; empty for none.
  std::string artifact = {}, artifact_sha256 = {};
  // Key under `artifacts` of the data that it read, blanks between several; empty when its data come from elsewhere.
  std::string data_artifact = {};
  // StageProgress.step at its end: what its checkpoints counted. 0 for a stage of which a checkpoint keeps nothing. Not
  // written down.
  int64_t saved_steps = 0;
};

// The stage has taken this.
void FillSpent(const Spent& spent, StageReport* report);

// An object of summary.json's list `stages`; keys of empty texts, and round 0, are left out, and a number that is not
// finite is null.
nlohmann::json ToJson(const StageReport& report);
// A list of such objects, in order.
nlohmann::json ToJson(const std::vector<StageReport>& reports);

// Takes what other versions wrote: absent keys, keys of another type and unknown keys are no error. DataLoss, naming
// `file`, when `entries` is no list of objects. A null among the metrics reads as NaN.
absl::StatusOr<std::vector<StageReport>> StageReportsFromJson(const nlohmann::json& entries, const std::string& file);

// The stage is done. Fills state, seconds, steps and the finite metrics of `status`.
void ShowReport(const StageReport& report, v1::StageStatus* status);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_REPORT_H_
