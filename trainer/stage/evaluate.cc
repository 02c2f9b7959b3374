// A stage of type `evaluate`: samples every problem of a data set and measures; nothing is learned. Groups 0 .. P-1 are
// the sampled problems, groups P .. P+Q-1 the greedy ones. A checkpoint keeps nothing of it: a resumed run measures
// anew.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "coordinator/endpoint_usage.h"
#include "trainer/records/metrics.h"
#include "trainer/stage/context.h"
#include "trainer/stage/evaluation.h"
#include "trainer/stage/group_feed.h"
#include "trainer/stage/judged.h"
#include "trainer/stage/stage_plugin.h"
#include "trainer/stage/worker_memory.h"

namespace grpo {
namespace {

// A larger share of samples that no mean counts is said where the means are.
constexpr double kTolerableExcludedFrac = 0.01;

struct Options {
  JudgedSampling judged = {.samples_per_problem = 8};
  bool greedy = true;

  template <class V>
  void Visit(V& v) {
    judged.Visit(
        v,
        {.policy = "Key under `policies`: the weights that are measured.",
         .rewards = "Key under `rewards`: the rules that judge.",
         .problems = "How many problems are sampled samples_per_problem times, from the start of the data; 0 "
                     "takes all.",
         .samples_per_problem = "Completions per problem: pass@1 is their mean, pass@k for k up to this is "
                                "the unbiased estimate of arXiv:2107.03374.",
         .accuracy_rule = "Rule of the profile whose value 1 means solved.",
         .format_rule = "Rule of the profile whose mean is format_rate; ignored when the profile lacks it.",
         .max_samples_per_problem = 1024},
        [&] { v("greedy", greedy, {.help = "Also decode every problem of the data once at temperature 0."}); });
  }
};

// An evaluate stage while it runs.
class Evaluation {
 public:
  Evaluation(StageContext& context, const Options& options, const StageCursor& start)
      : context_(context),
        options_(options.judged),
        greedy_(options.greedy),
        before_({.stage_index = start.stage_index}),
        start_time_(context.clock.Now()),
        sums_(options.judged.format_rule) {}

  absl::StatusOr<StageReport> Run() {
    RETURN_IF_ERROR(Prepare());
    GroupFeed feed(context_.groups, context_.name, 0, num_groups_, [this](int64_t i) { return GroupLease(i); });
    for (int64_t first = 0; first < num_groups_;) {
      // Sampled and greedy groups are counted apart, so a batch holds one kind.
      const int64_t end = first < num_sampled_ ? num_sampled_ : num_groups_;
      const int64_t count = std::min(kCollectGroups, end - first);
      ASSIGN_OR_RETURN(const std::vector<ScoredGroup> groups,
                       feed.Next(count, [&] { return context_.saver.Poll([&] { return before_; }); }));
      for (const ScoredGroup& group : groups) Spend(group, &context_.spending);
      RETURN_IF_ERROR(run_.data->Check());
      for (const ScoredGroup& group : groups) Count(group);
      if (first == 0) ForgetWorkerPeaks(context_.groups.coordinator);
      first += count;
      context_.records.completions.Append(context_.name, first, groups);
      ShowStep(first);
    }
    return Finish();
  }

 private:
  absl::Status Prepare() {
    ASSIGN_OR_RETURN(run_, PrepareJudged(context_, options_));
    num_sampled_ = run_.num_problems;
    const int64_t available = run_.data->size() < 0 ? num_sampled_ : run_.data->size();
    num_groups_ = num_sampled_ + (greedy_ ? available : 0);
    context_.records.completions.Rewind(context_.name, 0);
    ShowStep(0);
    return Publish(context_, *run_.policy);
  }

  absl::Duration Elapsed() const { return context_.clock.Now() - start_time_; }

  void ShowStep(int64_t step) {
    std::map<std::string, double> metrics;
    AddUsageMetrics(usage_, &metrics);
    ShowGroups({.step = step, .num_steps = num_groups_, .elapsed = Elapsed()}, metrics, &context_.board);
  }

  bool IsGreedy(int64_t group_index) const { return group_index >= num_sampled_; }

  v1::Lease GroupLease(int64_t i) const {
    const bool greedy = IsGreedy(i);
    GroupTemplate group{.stage = context_.name,
                        .kind = v1::LEASE_KIND_EVALUATE,
                        .policy = run_.policy->ref(),
                        .endpoint = !run_.policy->endpoint_model().empty(),
                        .reward = run_.reward,
                        .sampling = ToProto(options_.sampling, greedy ? 1 : options_.samples_per_problem)};
    if (greedy) group.sampling.set_temperature(0);
    return MakeLease(group, context_.config.run.seed, i, run_.data->At(greedy ? i - num_sampled_ : i).prompt);
  }

  void Count(const ScoredGroup& group) {
    const bool greedy = IsGreedy(group.lease.key().group_index());
    ProblemSamples problem;
    ++num_collected_;
    num_tokens_ += static_cast<double>(NumSampledTokens(group));
    AddUsage(group.usage, &usage_);
    for (const v1::ScoredCompletion& scored : group.completions) {
      ++num_samples_;
      // A sample that our own failure excluded is no wrong answer (docs/design.md law 1).
      if (scored.score().excluded()) {
        ++num_excluded_;
        continue;
      }
      const v1::RuleScore* const accuracy = FindRule(scored.score(), options_.accuracy_rule);
      const bool solved = accuracy != nullptr && accuracy->value() >= 1;
      if (greedy) {
        ++num_greedy_;
        greedy_solved_ += solved;
      } else {
        problem.samples.push_back({.solved = solved, .extracted = accuracy == nullptr ? "" : accuracy->extracted()});
      }
    }
    if (greedy) return;
    problems_.push_back(std::move(problem));
    sums_.Add(group);
  }

  // Every denominator counts what is there: quarantined problems and excluded samples are missing. A mean over nothing
  // is left out.
  std::map<std::string, double> Metrics() const {
    std::map<std::string, double> metrics = AccuracyMetrics(problems_, options_.samples_per_problem);
    metrics.merge(sums_.Metrics());
    metrics[metric::kNumProblems] = static_cast<double>(problems_.size());
    metrics[metric::kSamplesPerProblem] = static_cast<double>(options_.samples_per_problem);
    AddUsageMetrics(usage_, &metrics);
    if (run_.policy->endpoint_model().empty())
      metrics[metric::kNumParameters] = static_cast<double>(run_.policy->config().NumParameters());
    AddCosts(&metrics);
    const double seconds = absl::ToDoubleSeconds(Elapsed());
    // What samples them may know no tokens.
    if (seconds > 0 && num_tokens_ > 0) metrics[metric::kTokensPerSecond] = num_tokens_ / seconds;
    if (num_greedy_ > 0) {
      metrics[metric::kGreedyAccuracy] = static_cast<double>(greedy_solved_) / static_cast<double>(num_greedy_);
      metrics[metric::kNumGreedyProblems] = static_cast<double>(num_greedy_);
    }
    const int64_t num_quarantined = num_groups_ - num_collected_;
    if (num_quarantined > 0) metrics[metric::kNumQuarantinedGroups] = static_cast<double>(num_quarantined);
    AddExcluded(&metrics);
    return metrics;
  }

  // What its weights and its workers take, where that can be seen.
  void AddCosts(std::map<std::string, double>* metrics) const {
    const Coordinator& coordinator = context_.groups.coordinator;
    if (const auto weights = coordinator.Weights(run_.policy->ref()); weights.ok()) {
      int64_t num_bytes = 0;
      for (const v1::TensorEntry& tensor : (*weights)->manifest().tensors()) num_bytes += tensor.num_bytes();
      if (num_bytes > 0) (*metrics)[metric::kWeightBytes] = static_cast<double>(num_bytes);
    }
    if (const std::optional<int64_t> peak = LargestWorkerPeak(coordinator); peak.has_value())
      (*metrics)[metric::kWorkerPeakMemoryBytes] = static_cast<double>(*peak);
  }

  // StageReport.conditions.
  std::string Conditions() const {
    const SamplingOptions& sampling = options_.sampling;
    std::string text = absl::StrCat("data ", options_.data, ", rewards ", options_.rewards, ", ", num_sampled_,
                                    " problems x ", options_.samples_per_problem, ", temperature ",
                                    sampling.temperature, ", at most ", sampling.max_new_tokens, " tokens");
    if (sampling.top_p < 1) absl::StrAppend(&text, ", top_p ", sampling.top_p);
    if (sampling.top_k > 0) absl::StrAppend(&text, ", top_k ", sampling.top_k);
    if (sampling.min_p > 0) absl::StrAppend(&text, ", min_p ", sampling.min_p);
    if (!sampling.stop.empty()) absl::StrAppend(&text, ", ", sampling.stop.size(), " stop strings");
    return absl::StrCat(text, ", ", num_groups_ - num_sampled_, " problems greedily");
  }

  void AddExcluded(std::map<std::string, double>* metrics) const {
    if (num_excluded_ == 0) return;
    (*metrics)[metric::kNumExcludedSamples] = static_cast<double>(num_excluded_);
    const double excluded = static_cast<double>(num_excluded_) / static_cast<double>(num_samples_);
    if (excluded <= kTolerableExcludedFrac) return;
    (*metrics)[metric::kExcludedSamplesRate] = excluded;
    spdlog::error(
        "{} OF {} SAMPLES OF STAGE {} ARE EXCLUDED, and no mean counts them: `grpoctl completions` and outcomes/... in "
        "metrics.jsonl say why",
        num_excluded_, num_samples_, context_.name);
  }

  StageReport Finish() {
    StageReport report{.policy = run_.policy->ref().policy_id(),
                       .policy_number = run_.policy->ref().number(),
                       .steps = num_groups_,
                       .conditions = Conditions(),
                       .metrics = Metrics()};
    context_.records.metrics.Append(context_.name, num_groups_, report.metrics);
    return report;
  }

  StageContext& context_;
  const JudgedSampling& options_;
  const bool greedy_;
  // What a checkpoint keeps of the stage: that it has not begun.
  const StageCursor before_;
  const absl::Duration start_time_;
  JudgedRun run_;
  int64_t num_sampled_ = 0, num_groups_ = 0;
  // Of the sampled groups, in order.
  std::vector<ProblemSamples> problems_;
  SampleSums sums_;
  int64_t num_collected_ = 0, num_samples_ = 0, num_excluded_ = 0;
  // Greedy samples that count.
  int64_t num_greedy_ = 0, greedy_solved_ = 0;
  double num_tokens_ = 0;
  // Of all groups, where an endpoint answered them.
  v1::EndpointUsage usage_;
};

class EvaluateStage : public Stage {
 public:
  explicit EvaluateStage(Options options) : options_(std::move(options)) {}

  static StageView View() {
    StageView view;
    view.step_unit = "group";
    view.progress = {{.metric = metric::PassAt(1), .label = "pass@1"},
                     {.metric = metric::PassAt(8), .label = "pass@8"},
                     {.metric = metric::kGreedyAccuracy, .label = "greedy"},
                     {.metric = metric::kFormatRate, .label = "format"},
                     {.metric = metric::kMeanCompletionTokens, .label = "length"}};
    view.table = {
        .title = "Evaluations",
        .heading = "metric",
        .by_policy = true,
        // Whether the language is kept is R1's second measure: where there is the rule, it has a row.
        .leading = {metric::PassAt(1), metric::PassAt(8), metric::kGreedyAccuracy, metric::kFormatRate,
                    metric::RuleMean("language_consistency"), metric::kMeanCompletionTokens},
        .trailing = {metric::kNumParameters, metric::kWeightBytes, metric::kWorkerPeakMemoryBytes,
                     metric::kTokensPerSecond, metric::kEndpointUsd},
        .details = false,
        .of_round = {metric::PassAt(1), metric::kGreedyAccuracy},
        // As a share, where it is worth a row: excluded_samples_rate.
        .hidden = {metric::kNumExcludedSamples},
        .samples = true,
    };
    view.measures = {metric::PassAt("*"), metric::MajAt("*"), metric::kGreedyAccuracy,
                     metric::kFormatRate, metric::kReward,    metric::RuleMean("*")};
    return view;
  }

  std::vector<Reference> references() const override { return options_.judged.References(); }
  std::vector<RuleReference> rules() const override {
    const JudgedSampling& keys = options_.judged;
    std::vector<RuleReference> rules = {{.key = "accuracy_rule", .rewards = keys.rewards, .rule = keys.accuracy_rule}};
    // A profile may lack the rule that nobody asked for: then there is no format_rate.
    if (keys.format_rule != JudgedSampling().format_rule)
      rules.push_back({.key = "format_rule", .rewards = keys.rewards, .rule = keys.format_rule});
    return rules;
  }
  StageCost cost() const override {
    return options_.judged.Cost(options_.greedy ? ", and each problem of the data once greedily" : "");
  }
  std::vector<DataUse> reads() const override {
    DataUse use = options_.judged.Reads("stage type evaluate");
    use.all_of_finite = options_.greedy;
    return {use};
  }
  std::string accuracy_rule() const override { return options_.judged.accuracy_rule; }
  absl::StatusOr<StageReport> Run(StageContext& context, StageCursor start) const override {
    return Evaluation(context, options_, start).Run();
  }

 private:
  const Options options_;
};

}  // namespace

StagePlugin Stage_evaluate() {
  return MakeStagePlugin<Options, EvaluateStage>(
      "Samples every problem of a data set and measures how many the policy solves; nothing is learned.");
}

}  // namespace grpo
