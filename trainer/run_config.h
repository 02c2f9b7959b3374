// The whole configuration file: one struct tree of the components' own options, and the checks that span components.
// Links no torch.
#ifndef GRPO_TRAINER_RUN_CONFIG_H_
#define GRPO_TRAINER_RUN_CONFIG_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/launch_options.h"
#include "configs/network_options.h"
#include "configs/visit.h"
#include "coordinator/options.h"
#include "data/options.h"
#include "model/options.h"
#include "reward/options.h"
#include "rollout/options.h"
#include "trainer/options.h"
#include "trainer/stage/stage.h"

namespace grpo {

// `run`: what holds for all stages.
struct RunOptions {
  std::string name;
  int64_t seed = 0;
  double max_unreadable_reference_frac = 0.01;

  template <class V>
  void Visit(V& v) {
    v("name", name,
      {.help = "Name of the run; the run folder is runs/<name> unless --run-dir says otherwise.", .required = true});
    v("seed", seed,
      {.help = "Seed of everything random: initial weights, data order, every sample.", .min = 0, .max = 9e15});
    v("max_unreadable_reference_frac", max_unreadable_reference_frac,
      {.help = "Share of the reference answers that a stage scores against which its rules may fail to read; with more "
               "the run does not start. Completions for them are left out of every mean and loss.",
       .min = 0,
       .max = 1});
  }
};

// `artifacts.<name>`: something that a stage writes for use outside the run.
struct ArtifactOptions {
  std::string path;

  template <class V>
  void Visit(V& v) {
    v("path", path, {.help = "Folder of a policy, or file of traces, relative to the run folder.", .required = true});
  }
};

// When a repeat ends early.
struct UntilOptions {
  std::string stage, metric;
  double min_gain = 0;

  template <class V>
  void Visit(V& v) {
    v("stage", stage, {.help = "A stage of the repeat that measures (type evaluate).", .required = true});
    v("metric", metric,
      {.help = "One of its metrics of which more is better, such as pass_at_1 (docs/metrics.md).", .required = true});
    v("min_gain", min_gain,
      {.help =
           "By so much the metric must be above that of the round before; after the first round of which it is not, "
           "the rounds that are left are left out. 0: it must not fall. In the metric's own unit: 0.01 of a share is "
           "a point.",
       .min = -1e9,
       .max = 1e9});
  }
};

// `rounds.<name>`: what a `repeat` among the stages was unrolled to (trainer/unroll.h); its stages are called
// name.1.stage, name.2.stage, ... (trainer/rounds.h).
struct RoundsOptions {
  int64_t times = 1;
  // Without a stage: all rounds run.
  UntilOptions until;

  template <class V>
  void Visit(V& v) {
    v("times", times, {.help = "Rounds.", .min = 1, .max = kMaxRounds});
    v("until", until, {.help = "When the rounds that are left are left out; without a stage, never."});
  }

  static constexpr double kMaxRounds = 1000;
};

// One element of `stages`: its name and type; the type's own keys stand beside them.
struct ConfiguredStage {
  std::string name;
  std::string type;
  // The type's own keys, as they were given or, once loaded, every one.
  Section options;
  // What they say, parsed once; null until a function below has made it.
  std::shared_ptr<const Stage> stage;

  template <class V>
  void Visit(V& v) {
    v("name", name, {.help = "Unique in the run; names files and metrics.", .required = true});
    v("type", type, {.help = "What the stage does.", .choices = StageTypes(), .required = true});
    v.Rest(options);
  }
};

struct RunConfig {
  RunOptions run;
  NetworkOptions network;
  LaunchOptions launch;
  TrainerOptions trainer;
  RolloutOptions rollout_worker;
  RewardServerOptions reward_server;
  CoordinatorOptions coordinator;
  CheckpointOptions checkpoint;
  CompletionsOptions completions;
  std::map<std::string, PolicyOptions> policies;
  std::map<std::string, DataOptions> data;
  std::map<std::string, RewardProfileOptions> rewards;
  std::map<std::string, ArtifactOptions> artifacts;
  std::map<std::string, RoundsOptions> rounds;
  std::vector<ConfiguredStage> stages;

  // Processes of each kind. What samples is scored too: without a reward profile no stage does either.
  int64_t NumRewardServers() const { return rewards.empty() ? 0 : reward_server.servers; }
  int64_t NumWorkers() const { return rewards.empty() ? 0 : rollout_worker.workers; }

  template <class V>
  void Visit(V& v) {
    v("run", run, {.help = "What holds for the whole run.", .required = true});
    v("network", network, {.help = "Addresses, tokens, TLS."});
    v("launch", launch, {.help = "What a cluster is asked for."});
    v("trainer", trainer, {.help = "The process that learns."});
    v("rollout_worker", rollout_worker, {.help = "The processes that sample."});
    v("reward_server", reward_server, {.help = "The processes that score."});
    v("coordinator", coordinator, {.help = "Leases and liveness."});
    v("checkpoint", checkpoint, {.help = "When state is saved."});
    v("completions", completions, {.help = "What is kept of what was sampled."});
    v("policies", policies, {.help = "Named weights."});
    v("data", data, {.help = "Named sources of problems and documents."});
    v("rewards", rewards, {.help = "Named reward profiles."});
    v("artifacts", artifacts, {.help = "Named outputs."});
    v("rounds", rounds,
      {.help =
           "Written by `grpoctl`, which unrolls each `repeat` among the stages and keeps here what that said; never "
           "by hand."});
    v("stages", stages,
      {.help = "What the run does, in order. An element is a stage, or a `repeat` of several.", .required = true});
  }
};

// Whether policies.<policy> is there and only an address. Pure.
inline bool IsEndpoint(const RunConfig& config, const std::string& policy) {
  const auto found = config.policies.find(policy);
  return found != config.policies.end() && found->second.endpoint.given();
}

// A configuration that was read and checked.
struct LoadedConfig {
  RunConfig config;
  // Every key present (of a data source's own keys those that were given), paths absolute; loading it again gives the
  // same configuration and hash.
  std::string resolved_yaml;
  // SHA-256 (hex) of resolved_yaml.
  std::string sha256;
  // DataSource::content_sha256 of each entry of config.data that has one.
  std::map<std::string, std::string> data_sha256;
};

// Reads, unrolls repeats (trainer/unroll.h), resolves paths against the file's folder, and checks everything that can
// be checked without torch: references between stages and named things, rules and data sources (they are built once),
// what stages and algorithms declare. Errors are those of configs/load.h, together; those of repeated stages are said
// of the first round where it has any. NotFound when all that is wrong is a missing file.
absl::StatusOr<LoadedConfig> LoadRunConfig(const std::string& path, const std::vector<std::string>& overrides = {});

// Every key, as LoadedConfig has it; of a configuration that was changed since.
std::string ResolvedYaml(const RunConfig& config);

// Of a run that was, whoever wrote its resolved configuration: what can be read of it is filled in, the rest keeps its
// defaults, and a stage that this build cannot read is null. Nothing is checked.
RunConfig ReadRunConfig(const std::string& path);

}  // namespace grpo

#endif  // GRPO_TRAINER_RUN_CONFIG_H_
