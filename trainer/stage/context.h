// What a stage is given to run with, and what stages do alike: count problems, publish weights, make leases. Links no
// torch.
//
//   models     policies and learners            (models.h)
//   groups     coordinator, quarantine          (group_feed.h)
//   board      what is shown of the stage       (trainer/status/status_board.h)
//   records    metrics.jsonl, completions.sqlite
//   files      data and artifacts               (files.h)
//   saver      requests from outside, checkpoints (saver.h)
#ifndef GRPO_TRAINER_STAGE_CONTEXT_H_
#define GRPO_TRAINER_STAGE_CONTEXT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "coordinator/coordinator.h"
#include "data/source.h"
#include "trainer/records/completions_log.h"
#include "trainer/records/metrics_log.h"
#include "trainer/records/spending.h"
#include "trainer/run_config.h"
#include "trainer/stage/files.h"
#include "trainer/stage/group_feed.h"
#include "trainer/stage/models.h"
#include "trainer/stage/saver.h"
#include "trainer/status/status_board.h"

namespace grpo {

// What is kept of a run, line by line.
struct StageRecords {
  MetricsLog& metrics;
  CompletionsLog& completions;
};

// Borrowed from whoever runs the stage; outlives the call of Stage::Run. Used by the training thread.
struct StageContext {
  // Of the stage, in the configuration.
  const std::string& name;
  // The whole run's.
  const RunConfig& config;
  const Clock& clock;
  // Policies and learners, made when they are first asked for.
  Models& models;
  GroupChannel groups;
  // Its running stage is this one.
  StatusBoard& board;
  StageRecords records;
  const RunFiles& files;
  Saver& saver;
  // What the stage takes: tokens, and money where an endpoint asks for it.
  SpendingLog& spending;
};

// How many problems of `source`, the entry `name` of `data`, a stage takes: `problems`, at most all; 0 asks for all.
// InvalidArgument when an endless source is asked for all. Pure.
absl::StatusOr<int64_t> CountProblems(const DataSource& source, const std::string& name, int64_t problems);

// Makes the policy's weights available to workers, as they are now, and shows it as the policy that is at work.
// StagePolicy::Publish's errors.
absl::Status Publish(StageContext& context, StagePolicy& policy);

// What the groups of a stage have in common.
struct GroupTemplate {
  std::string stage;
  // TRAIN, EVALUATE or SYNTHESIZE: it says what completions must carry (coordinator/submission.h).
  v1::LeaseKind kind;
  v1::PolicyRef policy;
  // The policy is only an address (StagePolicy::endpoint_model).
  bool endpoint = false;
  // Name and hash of the profile, as CheckProblems returned it.
  v1::RewardProfileRef reward;
  // ToProto's.
  v1::SamplingParams sampling;
};

// Group `group_index` of the stage, with its own seed; attempt, epoch and time to live are the coordinator's to fill.
// Pure.
v1::Lease MakeLease(const GroupTemplate& group, uint64_t run_seed, int64_t group_index, v1::Prompt prompt);

// What the rules under `rewards` are called on the wire. InvalidArgument when they are no profile.
absl::StatusOr<v1::RewardProfileRef> ProfileRef(const RunConfig& config, const std::string& rewards);

// Names of each profile's rules, in the order in which its scores have them. Pure.
std::map<std::string, std::vector<std::string>> RewardRuleNames(const RunConfig& config);

// The stage's sampling keys for groups of num_completions. Pure.
v1::SamplingParams ToProto(const SamplingOptions& sampling, int64_t num_completions);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_CONTEXT_H_
