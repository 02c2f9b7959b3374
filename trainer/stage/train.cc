// A stage of type `train`: a policy learns by an algorithm, step after step, with the requests from outside served in
// between. One step, on each rank, is trainer/loop.h.
#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/count_text.h"
#include "common/log.h"
#include "common/peak_memory.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/records/metrics.h"
#include "trainer/stage/context.h"
#include "trainer/stage/stage_plugin.h"
#include "trainer/stage/step_source.h"

namespace grpo {
namespace {

// Of a stage that samples, its report holds the largest.

// The algorithm's own keys stand beside these.
struct Options {
  std::string algorithm;
  std::string policy;
  std::string data;
  int64_t steps = 0;
  OptimizerOptions optimizer;
  std::string export_to;
  Section algorithm_options;

  template <class V>
  void Visit(V& v) {
    v("algorithm", algorithm, {.help = "How the policy learns (trainer/algorithms.inc lists them).", .required = true});
    v("policy", policy, {.help = "Key under `policies`: the weights that are trained.", .required = true});
    v("data", data, {.help = "Key under `data`: the problems or documents it learns from.", .required = true});
    v("steps", steps,
      {.help = "Steps: batches sampled or read.", .unit = "steps", .min = 1, .max = 1e12, .required = true});
    v("optimizer", optimizer, {.help = "AdamW and its schedule."});
    v("export_to", export_to,
      {.help =
           "Key under `artifacts`: where the trained policy is written as a Hugging Face folder when the stage ends."});
    v.Rest(algorithm_options);
  }
};

// What a step of a plan's kind costs, times the stage's steps.
struct CostOfPlan {
  int64_t steps;

  StageCost operator()(const RolloutPlan& plan) const {
    const int64_t completions = plan.prompts_per_step * plan.group_size;
    return {.batch = absl::StrCat(FormatCount(plan.prompts_per_step), " prompts x ", FormatCount(plan.group_size),
                                  " = ", FormatCount(completions), " completions a step, ",
                                  FormatCount(plan.updates_per_step), " updates each"),
            .steps = steps,
            .completions = completions * steps,
            .tokens = completions * steps * plan.sampling.max_new_tokens};
  }
  StageCost operator()(const CorpusPlan& plan) const {
    const int64_t tokens = plan.rows_per_step * plan.row_tokens;
    return {.batch = absl::StrCat(FormatCount(plan.rows_per_step), " rows x ", FormatCount(plan.row_tokens),
                                  " tokens = ", FormatCount(tokens), " tokens a step"),
            .steps = steps,
            .tokens = tokens * steps};
  }
  StageCost operator()(const TracesPlan& plan) const {
    return {.batch = absl::StrCat(FormatCount(plan.traces_per_step), " traces a step"), .steps = steps};
  }
};

// What a step of a plan's kind reads; `use` is of the stage's own data, and the rest is filled in.
struct UsesOfPlan {
  DataUse use;

  std::vector<DataUse> operator()(const RolloutPlan& plan) {
    DataUse traces = use;
    use.kind = DataUse::Kind::kProblems;
    use.rewards = plan.rewards;
    use.max_new_tokens = plan.sampling.max_new_tokens;
    if (plan.traces_data.empty()) return {use};
    traces.kind = DataUse::Kind::kTraces;
    traces.data = plan.traces_data;
    return {use, traces};
  }
  std::vector<DataUse> operator()(const CorpusPlan& plan) {
    use.kind = DataUse::Kind::kDocuments;
    use.row_tokens = plan.row_tokens;
    return {use};
  }
  std::vector<DataUse> operator()(const TracesPlan& plan) {
    use.kind = DataUse::Kind::kTraces;
    use.stored_top_k = plan.stored_top_k;
    return {use};
  }
};

// A train stage while it runs.
class Training {
 public:
  Training(StageContext& context, const Options& options, const Algorithm& algorithm, const LearnerSpec& spec,
           StageCursor start)
      : context_(context),
        options_(options),
        algorithm_(algorithm),
        spec_(spec),
        cursor_(std::move(start)),
        start_step_(cursor_.progress.step),
        start_time_(context.clock.Now()),
        seconds_before_(cursor_.progress.seconds) {}

  absl::StatusOr<StageReport> Run() {
    RETURN_IF_ERROR(Prepare());
    while (step() < options_.steps) {
      RETURN_IF_ERROR(Poll());
      RETURN_IF_ERROR(Step());
      RETURN_IF_ERROR(PauseWhereNothingIsLearned());
      RETURN_IF_ERROR(SaveWhereConfigured());
    }
    return Finish();
  }

 private:
  // The step's clock, and what it was given: all that Measure needs beside the outcome.
  struct StepTimes {
    absl::Duration started = {}, received = {}, ended = {};
  };

  // Steps done.
  int64_t step() const { return cursor_.progress.step; }

  absl::Status Prepare() {
    ASSIGN_OR_RETURN(learner_, context_.models.BeginTraining(spec_, cursor_));
    // Taken over; the learner has its own now.
    cursor_.learner.reset();
    ASSIGN_OR_RETURN(source_, MakeStepSource(context_, options_.data, algorithm_, learner_->policy(),
                                             cursor_.progress.data_position));
    context_.records.completions.Rewind(context_.name, step());
    context_.board.Update([&](v1::RunStatus& status) { *status.mutable_policy() = learner_->policy().ref(); });
    return absl::OkStatus();
  }

  // Between steps: the requests from outside.
  absl::Status Poll() {
    return context_.saver.Poll([this] { return Cursor(); });
  }

  absl::Status Step() {
    StepTimes times{.started = context_.clock.Now()};
    ASSIGN_OR_RETURN(const StepInput input, source_->Next(step(), [&] { return Poll(); }));
    times.received = context_.clock.Now();
    context_.board.SetPhase("step");
    ASSIGN_OR_RETURN(StepBatch batch, algorithm_.Prepare(input));
    const int64_t number = learner_->policy().ref().number();
    ASSIGN_OR_RETURN(StepOutcome outcome, learner_->Step(std::move(batch), step()));
    const auto skipped = outcome.metrics.find(metric::kSkippedUpdates);
    const bool some_skipped = skipped != outcome.metrics.end() && skipped->second > 0;
    num_skipped_steps_ = some_skipped && learner_->policy().ref().number() == number ? num_skipped_steps_ + 1 : 0;
    cursor_.progress.data_position = source_->data_position();
    ++cursor_.progress.step;
    times.ended = context_.clock.Now();
    Measure(input, times, &outcome.metrics);
    Spend(outcome.metrics);
    Keep(input);
    Record(outcome);
    metrics_ = std::move(outcome.metrics);
    return absl::OkStatus();
  }

  // What is sampled and spent comes to nothing while every update is skipped.
  absl::Status PauseWhereNothingIsLearned() {
    const int64_t allowed = std::min(context_.config.trainer.max_skipped_steps, options_.steps);
    if (allowed == 0 || num_skipped_steps_ < allowed) return absl::OkStatus();
    const std::string reason =
        absl::StrCat("stage ", context_.name, ": every update of the last ", num_skipped_steps_,
                     " steps was skipped, loss or gradient was not finite and the weights are as before: look for what "
                     "was sampled (grpoctl completions), lower optimizer.learning_rate, or go on from an earlier "
                     "checkpoint; `grpoctl resume` tries as many steps more");
    spdlog::error("THE RUN PAUSES: {}", reason);
    context_.groups.control.Pause(reason);
    num_skipped_steps_ = 0;
    return Poll();
  }

  // Adds what the step took, and what it went without.
  void Measure(const StepInput& input, const StepTimes& times, std::map<std::string, double>* metrics) const {
    if (const auto* const rollouts = std::get_if<RolloutInput>(&input)) {
      const int64_t num_quarantined =
          std::get<RolloutPlan>(algorithm_.plan()).prompts_per_step - static_cast<int64_t>(rollouts->groups.size());
      if (num_quarantined > 0) (*metrics)[metric::kNumQuarantinedGroups] = static_cast<double>(num_quarantined);
    }
    const double seconds = absl::ToDoubleSeconds(times.ended - times.started);
    (*metrics)[metric::kWaitSeconds] = absl::ToDoubleSeconds(times.received - times.started);
    (*metrics)[metric::kUpdateSeconds] = absl::ToDoubleSeconds(times.ended - times.received);
    (*metrics)[metric::kStepSeconds] = seconds;
    (*metrics)[metric::kPeakMemoryBytes] = static_cast<double>(PeakMemoryBytes());
    const auto status = context_.board.Snapshot();
    for (const v1::RankStatus& rank : status.ranks()) {
      if (!rank.has_device_memory()) continue;
      (*metrics)[metric::DeviceAllocatedBytes(rank.rank())] = rank.device_memory().allocated_bytes();
      (*metrics)[metric::DevicePeakBytes(rank.rank())] = rank.device_memory().peak_bytes();
      (*metrics)[metric::DeviceReservedBytes(rank.rank())] = rank.device_memory().reserved_bytes();
    }
    (*metrics)[metric::kWeightBufferBytes] = static_cast<double>(context_.groups.coordinator.weight_buffer_bytes());
    const auto num_tokens = metrics->find(metric::kNumTokens);
    if (num_tokens != metrics->end() && seconds > 0)
      (*metrics)[metric::kTokensPerSecond] = num_tokens->second / seconds;
  }

  void Spend(const std::map<std::string, double>& metrics) {
    const auto num_tokens = metrics.find(metric::kNumTokens);
    if (num_tokens != metrics.end()) context_.spending.AddTokens(static_cast<int64_t>(num_tokens->second));
  }

  // The step's samples, where they are to be kept.
  void Keep(const StepInput& input) {
    const auto* const rollouts = std::get_if<RolloutInput>(&input);
    const int64_t every = context_.config.completions.train_every_steps;
    if (rollouts != nullptr && !rollouts->groups.empty() && every > 0 && step() % every == 0)
      context_.records.completions.Append(context_.name, step(), rollouts->groups);
  }

  void Record(const StepOutcome& outcome) {
    const auto& metrics = outcome.metrics;
    if (const auto difference = metrics.find(metric::kLogprobAbsDiffMax); difference != metrics.end()) {
      double& largest = cursor_.progress.largest[metric::kLogprobAbsDiffMax];
      largest = std::max(largest, difference->second);
    }
    if (const auto skipped = metrics.find(metric::kSkippedUpdates); skipped != metrics.end() && skipped->second > 0) {
      spdlog::error("stage {} step {}: loss or gradient is not finite; {} update(s) skipped, the weights are as before",
                    context_.name, step(), skipped->second);
    }
    // Hashes are equal wherever the step was the same.
    context_.records.metrics.Append(
        context_.name, step(), metrics,
        {{"token_ids_hash", outcome.token_ids_hash}, {"weights_hash", outcome.weights_hash}});
    context_.board.UpdateStage([&](v1::StageStatus& stage) {
      stage.set_step(step());
      stage.set_seconds(Seconds());
      for (const auto& [name, value] : metrics) (*stage.mutable_metrics())[name] = value;
    });
    context_.board.Update([&](v1::RunStatus& status) { *status.mutable_policy() = learner_->policy().ref(); });
    if (const int64_t done = step() - start_step_; done >= 2)
      context_.board.SetRemaining(Seconds() - seconds_before_, done, options_.steps - step());
  }

  absl::Status SaveWhereConfigured() {
    const int64_t every = context_.config.checkpoint.every_steps;
    if (every == 0 || step() % every != 0 || step() >= options_.steps) return absl::OkStatus();
    return context_.saver.Save(absl::StrCat("at step ", step(), " of ", context_.name), [this] { return Cursor(); });
  }

  // Where the stage goes on from now.
  StageCursor Cursor() {
    cursor_.progress.seconds = Seconds();
    learner_->Save(&cursor_);
    return cursor_;
  }

  absl::StatusOr<StageReport> Finish() {
    StageReport report{.policy = learner_->policy().ref().policy_id(),
                       .policy_number = learner_->policy().ref().number(),
                       .steps = options_.steps,
                       .metrics = metrics_,
                       // Whose work this stage built on.
                       .data_artifact = absl::StrJoin(context_.files.ArtifactsReadBy(options_.data), " "),
                       .saved_steps = options_.steps};
    // What is worth knowing of the whole stage, beside the last step's values.
    if (std::holds_alternative<RolloutPlan>(algorithm_.plan()))
      report.metrics[metric::kLogprobAbsDiffMax] = cursor_.progress.largest[metric::kLogprobAbsDiffMax];
    if (!options_.export_to.empty()) {
      report.exported_to = context_.files.ArtifactPath(options_.export_to);
      RETURN_IF_ERROR(learner_->policy().ExportTo(report.exported_to));
      spdlog::info("policy {} written to {}", report.policy, report.exported_to);
    }
    return report;
  }

  double Seconds() const { return seconds_before_ + absl::ToDoubleSeconds(context_.clock.Now() - start_time_); }

  StageContext& context_;
  const Options& options_;
  const Algorithm& algorithm_;
  const LearnerSpec& spec_;
  StageCursor cursor_;
  const int64_t start_step_;
  const absl::Duration start_time_;
  const double seconds_before_;
  std::unique_ptr<StepLearner> learner_;
  std::unique_ptr<StepSource> source_;
  // Of the newest step.
  std::map<std::string, double> metrics_;
  // In a row, up to the newest, since the last pause.
  int64_t num_skipped_steps_ = 0;
};

class TrainStage : public Stage {
 public:
  TrainStage(Options options, std::unique_ptr<Algorithm> algorithm)
      : options_(std::move(options)), algorithm_(std::move(algorithm)) {}

  // Null without an algorithm: that it is missing has been said.
  static absl::StatusOr<std::unique_ptr<Stage>> Create(Options options, const Section& section) {
    if (!SectionText(section, "algorithm")) return nullptr;
    absl::StatusOr<const AlgorithmPlugin*> plugin = FindAlgorithm(options.algorithm);
    if (!plugin.ok()) return SectionError(section, "algorithm", plugin.status().message());
    ASSIGN_OR_RETURN(std::unique_ptr<Algorithm> algorithm, (*plugin)->make(options.algorithm_options));
    return std::make_unique<TrainStage>(std::move(options), std::move(algorithm));
  }
  static absl::Status Resolve(Options* options) {
    ASSIGN_OR_RETURN(options->algorithm_options, ResolveAlgorithm(options->algorithm, options->algorithm_options));
    return absl::OkStatus();
  }

  static StageView View() {
    StageView view;
    view.progress = {{.metric = metric::kReward, .label = "reward"},
                     {.metric = metric::RuleMean("*"), .label = "*"},
                     {.metric = metric::kCompletionsMeanLength, .label = "length"},
                     // Where there is a reward, the loss says nothing about how well the policy does.
                     {.metric = metric::kLoss, .label = "loss", .unless = metric::kReward},
                     {.metric = metric::kPeakMemoryBytes, .label = ""},
                     {.metric = metric::kTokensPerSecond, .label = ""}};
    view.charts = {{.metric = metric::kReward, .title = "Reward"},
                   {.metric = metric::RuleMean("*"), .title = "Rule *, mean value"},
                   {.metric = metric::kCompletionsMeanLength, .title = "Completion length", .unit = "tokens"},
                   {.metric = metric::kLoss, .title = "Loss"},
                   {.metric = metric::kGradNorm, .title = "Gradient norm"},
                   {.metric = metric::kLogprobAbsDiffMax,
                    .title = "Largest |policy − sample| log-probability",
                    .keep_largest = true}};
    view.trains_policy = true;
    return view;
  }

  std::vector<Reference> references() const override {
    std::vector<Reference> references = {
        {.key = "policy", .section = "policies", .value = options_.policy, .required = true},
        {.key = "data", .section = "data", .value = options_.data, .required = true},
        {.key = "export_to", .section = "artifacts", .value = options_.export_to}};
    for (Reference& reference : algorithm_->references()) references.push_back(std::move(reference));
    return references;
  }
  std::vector<Conflict> Conflicts() const override {
    std::vector<Conflict> conflicts = algorithm_->Conflicts(options_.policy);
    const OptimizerOptions& optimizer = options_.optimizer;
    if (optimizer.schedule == "one_cycle" && optimizer.warmup_steps > 0) {
      conflicts.push_back({"optimizer.warmup_steps",
                           absl::StrCat("is ", optimizer.warmup_steps,
                                        ", and the schedule one_cycle rises by itself; set it to 0 (peak_frac says how "
                                        "long one_cycle rises), or choose another schedule")});
    }
    return conflicts;
  }
  StageCost cost() const override { return std::visit(CostOfPlan{options_.steps}, algorithm_->plan()); }
  std::vector<DataUse> reads() const override {
    UsesOfPlan uses_of{
        {.reader = absl::StrCat("algorithm ", options_.algorithm), .data = options_.data, .policy = options_.policy}};
    return std::visit(uses_of, algorithm_->plan());
  }
  // Losses of sampled steps and of steps that only read have nothing to do with each other.
  ChartGroup chart_group() const override {
    if (std::holds_alternative<RolloutPlan>(algorithm_->plan())) return {.name = "sampled", .rank = 0};
    return {.name = options_.algorithm, .rank = 1};
  }
  std::optional<LearnerSpec> learner() const override {
    return LearnerSpec{.policy = options_.policy,
                       .algorithm = *algorithm_,
                       .optimizer = options_.optimizer,
                       .num_steps = options_.steps};
  }
  absl::Status Check(const Models& models) const override { return models.CheckLosses(algorithm_->losses()); }
  absl::StatusOr<StageReport> Run(StageContext& context, StageCursor start) const override {
    const std::optional<LearnerSpec> spec = learner();
    return Training(context, options_, *algorithm_, *spec, std::move(start)).Run();
  }

 private:
  const Options options_;
  const std::unique_ptr<Algorithm> algorithm_;
};

}  // namespace

StagePlugin Stage_train() {
  return MakeStagePlugin<Options, TrainStage>("A policy learns, step after step, by one of the algorithms below.");
}

}  // namespace grpo
