// What every stage works with, and what stages do alike: check problems, publish weights, make
// leases (group_feed.h offers and collects them).
#ifndef GRPO_TRAINER_STAGE_CONTEXT_H_
#define GRPO_TRAINER_STAGE_CONTEXT_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/coordinator.h"
#include "data/source.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/dist/collectives.h"
#include "trainer/policies.h"
#include "trainer/records/completions_log.h"
#include "trainer/records/metrics_log.h"
#include "trainer/records/quarantine_log.h"
#include "trainer/run_config.h"
#include "trainer/status/control.h"
#include "trainer/status/status_board.h"

namespace grpo {

// Borrowed from trainer/run.cc; outlives the stage. Used by the training thread.
struct RunContext {
  const RunConfig& config;
  // LoadedConfig::data_sha256.
  const std::map<std::string, std::string>& data_sha256;
  const std::string run_dir;
  // SHA-256 (hex) of the files that stages of this run have written, by artifact.
  std::map<std::string, std::string> artifact_sha256 = {};
  PolicyStore* policies;
  Coordinator* coordinator;
  StatusBoard* board;
  RunControl* control;
  Collectives* collectives;
  MetricsLog* metrics;
  CompletionsLog* completions = nullptr;
  // Of the running stage, in config.stages.
  int64_t stage_index = 0;
  QuarantineLog* quarantine = nullptr;
  // Commits a checkpoint of the run with the running stage at this cursor.
  std::function<absl::StatusOr<v1::CheckpointStatus>(const StageCursor&)> save;

  // Where the artifact lies.
  std::string ArtifactPath(const std::string& artifact) const;
};

// Runs one stage from `start` to its end and returns its report for summary.json (without name, type and seconds).
// Aborted when a stop was requested.
absl::StatusOr<nlohmann::json> RunTrainStage(RunContext& context, const StageOptions& stage, StageCursor start);
absl::StatusOr<nlohmann::json> RunEvaluateStage(RunContext& context, const StageOptions& stage);
absl::StatusOr<nlohmann::json> RunSynthesizeStage(RunContext& context, const StageOptions& stage);

// A save that nobody asked for by name, `when` ("at step 7 of tune"). If it fails, that is said loudly, the checkpoint
// before it stays, and checkpoint.on_error decides: the run goes on, or it pauses, and `grpoctl resume` tries again.
// Aborted when it was stopped while it paused.
absl::Status SaveAsConfigured(RunContext& context, const std::string& when, RunControl::SaveFunction save);

// The entry `name` of `data`. DataLoss when its content has changed since the run (or the resumed part of it) began, or
// since the stage that wrote it.
absl::StatusOr<std::unique_ptr<DataSource>> OpenData(const RunContext& context, const std::string& name);

// The requests from outside, in a stage of which a checkpoint keeps nothing: one made now goes on before this stage.
absl::Status PollBeforeStage(RunContext& context);

// How many problems of `source`, the entry `name` of `data`, a stage takes: `problems`, at most all; 0 asks for all.
// InvalidArgument when an endless source is asked for all.
absl::StatusOr<int64_t> CountProblems(const DataSource& source, const std::string& name, int64_t problems);

// Tokens of a sequence at most when workers sample the policy: rollout_worker.context_tokens, or what the policy has
// positions for.
int64_t ContextTokens(const RunContext& context, const Policy& policy);

// Makes the policy's weights available to workers, as they are now.
absl::Status PublishPolicy(RunContext& context, const Policy& policy);

// What the groups of a stage have in common.
struct GroupTemplate {
  std::string stage;
  v1::LeaseKind kind;
  v1::PolicyRef policy;
  v1::RewardProfileRef reward;
  v1::SamplingParams sampling;
};

v1::Lease MakeLease(const GroupTemplate& group, uint64_t run_seed, int64_t group_index, v1::Prompt prompt);

// Before step 0 (docs/design.md law 1): every problem's prompt fits the context and can be tokenized (InvalidArgument
// otherwise, naming the problem), and the rules can read its reference answer: those that cannot are counted in a loud
// line, and when none can it is an error. Endless sources are checked by their first thousand problems.
// Returns what the rules are called on the wire.
absl::StatusOr<v1::RewardProfileRef> CheckProblems(const RunContext& context, const DataSource& source,
                                                   const std::string& rewards, const Policy& policy,
                                                   const SamplingOptions& sampling);

v1::SamplingParams ToProto(const SamplingOptions& sampling, int64_t num_completions);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_CONTEXT_H_
