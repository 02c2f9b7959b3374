// A stage of type `synthesize`: samples every problem of a data set and writes the completions that the reward accepts,
// problem and completion, one a line. Group i is the i-th problem of the data that is sampled (teacher_shares.h). What
// was sampled before the run was killed is not sampled again: it is in the stage's log, so that a checkpoint need not
// keep it. With teacher_top_k it also stores beside each trace what the policy held likely at each of its tokens
// (top_k_files.h), computed in this process once all traces are there, so that only accepted ones cost a forward pass.
// Who writes and what is kept: distillation_keys.h.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "coordinator/endpoint_usage.h"
#include "trainer/records/metrics.h"
#include "trainer/stage/context.h"
#include "trainer/stage/distillation_keys.h"
#include "trainer/stage/group_feed.h"
#include "trainer/stage/judged.h"
#include "trainer/stage/problem_sums.h"
#include "trainer/stage/stage_plugin.h"
#include "trainer/stage/step_source.h"
#include "trainer/stage/top_k_files.h"
#include "trainer/stage/top_k_writer.h"
#include "trainer/stage/traces.h"

namespace grpo {
namespace {

struct Options {
  JudgedSampling judged = {.samples_per_problem = 4};
  DistillationKeys keys;
  std::string export_to;
  int64_t teacher_top_k = 0;

  template <class V>
  void Visit(V& v) {
    judged.Visit(v,
                 {.policy = "Key under `policies`: the weights that write.",
                  .rewards = "Key under `rewards`: the rules that accept.",
                  .problems = "How many problems are sampled, from the start of the data; 0 takes all.",
                  .samples_per_problem = "Completions per problem.",
                  .accuracy_rule = "Rule of the profile that must give 1: the answer is right.",
                  .format_rule = "Rule of the profile that must give 1: the form is kept. Empty: any form will do.",
                  .max_samples_per_problem = 4096,
                  .is_policy_required = false},
                 [&] { keys.Visit(v); });
    v("export_to", export_to,
      {.help = "Key under `artifacts`: the file of JSON lines that is written when the stage ends; `data` entries read "
               "it by their key `artifact`.",
       .required = true});
    v("teacher_top_k", teacher_top_k,
      {.help = "For each token of the traces so many of the policy's likeliest tokens and their log-probabilities "
               "(temperature 1) are stored beside the file, 6 bytes each: a train stage whose algorithm asks for them "
               "needs no teacher. 0 stores none.",
       .unit = "tokens",
       .min = 0,
       .max = 1024});
  }
};

// A synthesize stage while it runs.
class Synthesis {
 public:
  Synthesis(StageContext& context, const Options& options, const StageCursor& start)
      : context_(context),
        options_(options),
        before_({.stage_index = start.stage_index}),
        start_time_(context.clock.Now()),
        teachers_(options.keys.Teachers(options.judged)) {}

  absl::StatusOr<StageReport> Run() {
    RETURN_IF_ERROR(Prepare());
    for (size_t i = 0; i < teachers_.size(); ++i) {
      const int64_t end = groups_.first[i + 1];
      if (log_->num_groups() < end || i + 1 == teachers_.size()) RETURN_IF_ERROR(SampleUpTo(end, teachers_[i].policy));
    }
    return Finish();
  }

 private:
  absl::Status Prepare() {
    JudgedSampling first = options_.judged;
    first.policy = teachers_[0].policy;
    ASSIGN_OR_RETURN(run_, PrepareJudged(context_, first));
    RETURN_IF_ERROR(ChooseProblems());
    group_ = {.stage = context_.name,
              .kind = v1::LEASE_KIND_SYNTHESIZE,
              .policy = run_.policy->ref(),
              .reward = run_.reward,
              .sampling = ToProto(options_.judged.sampling, options_.judged.samples_per_problem)};
    RETURN_IF_ERROR(OpenLog());
    first_group_ = log_->num_groups();
    ShowStep();
    return absl::OkStatus();
  }

  // Which problems are sampled, in which order, and what is kept of them.
  absl::Status ChooseProblems() {
    ASSIGN_OR_RETURN(contaminated_, OpenDecontamination(context_.files, options_.keys.decontaminate));
    ASSIGN_OR_RETURN(const std::vector<int64_t> clean,
                     CleanProblems(*run_.data, run_.num_problems, contaminated_.get()));
    num_contaminated_ = run_.num_problems - static_cast<int64_t>(clean.size());
    if (clean.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "decontaminate: all ", num_contaminated_, " problems of data.", options_.judged.data, " share ",
          options_.keys.decontaminate.ngram,
          " words in a row with an evaluation set: raise decontaminate.ngram, or lower max_occurrences where "
          "it is their template that they share"));
    }
    const uint64_t seed = context_.config.run.seed;
    groups_ = GroupByTeacher(teachers_, CombineSeeds(seed, HashName("teachers of " + context_.name)), clean);
    num_groups_ = static_cast<int64_t>(groups_.problems.size());
    selector_ = std::make_unique<TraceSelector>(options_.keys.Selector(options_.judged, seed, context_.name),
                                                contaminated_.get());
    return absl::OkStatus();
  }

  // The data's, of the group with this number.
  v1::Prompt ReadProblem(int64_t group) const {
    return run_.data->At(groups_.problems[static_cast<size_t>(group)]).prompt;
  }

  // The data's, of a group that came back: the lease's prompt, or what that was made of where problems are rewritten.
  absl::StatusOr<v1::Prompt> ProblemOf(const ScoredGroup& group) const {
    if (!options_.keys.rewrite.enabled()) return group.lease.prompt();
    v1::Prompt problem = ReadProblem(group.lease.key().group_index());
    RETURN_IF_ERROR(run_.data->Check());
    return problem;
  }

  // Samples the groups from where the log ends up to `end`, by this policy.
  absl::Status SampleUpTo(int64_t end, const std::string& name) {
    ASSIGN_OR_RETURN(StagePolicy* const policy, context_.models.Get(name));
    group_.policy = policy->ref();
    group_.endpoint = !policy->endpoint_model().empty();
    selector_->SetModel(policy->endpoint_model());
    RETURN_IF_ERROR(Publish(context_, *policy));
    GroupFeed feed(context_.groups, context_.name, log_->num_groups(), end, [this](int64_t i) {
      v1::Prompt prompt = ReadProblem(i);
      const RewriteOptions& rewrite = options_.keys.rewrite;
      if (rewrite.enabled()) prompt.set_text(RewritePrompt(rewrite, prompt.text()));
      return MakeLease(group_, context_.config.run.seed, i, std::move(prompt));
    });
    while (log_->num_groups() < end) {
      const int64_t count = std::min(kCollectGroups, end - log_->num_groups());
      ASSIGN_OR_RETURN(const std::vector<ScoredGroup> groups,
                       feed.Next(count, [&] { return context_.saver.Poll([&] { return before_; }); }));
      RETURN_IF_ERROR(run_.data->Check());
      RETURN_IF_ERROR(Keep(groups, log_->num_groups() + count));
      ShowStep();
    }
    return absl::OkStatus();
  }

  absl::Status OpenLog() {
    const std::string folder = absl::StrCat(context_.files.run_dir(), "/synthesis");
    RETURN_IF_ERROR(MakeFolders(folder));
    nlohmann::ordered_json origin = {{"stage", context_.name},
                                     {"policy", group_.policy.policy_id()},
                                     {"policy_number", group_.policy.number()},
                                     {"weights_hash", run_.policy->WeightsHash()},
                                     {"rewards", options_.judged.rewards},
                                     {"rewards_sha256", group_.reward.sha256()}};
    for (size_t i = 1; i < teachers_.size(); ++i) {
      ASSIGN_OR_RETURN(const StagePolicy* const policy, context_.models.Get(teachers_[i].policy));
      origin["teachers"].push_back({policy->ref().policy_id(), policy->ref().number(), policy->WeightsHash()});
    }
    ASSIGN_OR_RETURN(log_, TraceLog::Open(absl::StrCat(folder, "/", context_.name, ".jsonl"), origin,
                                          [this](const GroupTraces& group) {
                                            selector_->Remember(group);
                                            Count(group);
                                          }));
    context_.records.completions.Rewind(context_.name, log_->num_groups());
    if (log_->num_groups() > 0)
      spdlog::info("stage {} goes on after {} problems of {}", context_.name, log_->num_groups(), num_groups_);
    return absl::OkStatus();
  }

  // The groups up to `end`; of those that were quarantined nothing is kept.
  absl::Status Keep(const std::vector<ScoredGroup>& groups, int64_t end) {
    auto next = groups.begin();
    for (int64_t i = log_->num_groups(); i < end; ++i) {
      const bool there = next != groups.end() && next->lease.key().group_index() == i;
      GroupTraces traces;
      if (there) {
        ASSIGN_OR_RETURN(const v1::Prompt problem, ProblemOf(*next));
        Spend(*next, &context_.spending);
        // Before the log, which says what need not be sampled again.
        context_.records.completions.Append(context_.name, i + 1, {*next});
        traces = selector_->Select(*next++, problem);
      } else {
        traces.group_index = i;
        traces.rejected["quarantined"] = options_.judged.samples_per_problem;
      }
      RETURN_IF_ERROR(Annotate(log_->Append(traces), "the traces cannot be kept"));
      Count(traces);
      num_tokens_here_ += traces.num_tokens;
    }
    return absl::OkStatus();
  }

  void Count(const GroupTraces& group) {
    const int64_t kept = static_cast<int64_t>(group.traces.size());
    num_traces_ += kept;
    num_unsolved_ += kept == 0;
    problem_sums_.Count(group.problem);
    AddUsage(group.usage, &usage_);
    for (const auto& [reason, number] : group.rejected) rejected_[reason] += number;
    for (const nlohmann::ordered_json& trace : group.traces) {
      // An endpoint's traces have none.
      if (trace.contains("num_tokens")) lengths_.push_back(trace.value("num_tokens", int64_t{0}));
    }
  }

  absl::Duration Elapsed() const { return context_.clock.Now() - start_time_; }

  void ShowStep() {
    std::map<std::string, double> metrics = {{metric::kNumTraces, static_cast<double>(num_traces_)}};
    AddUsageMetrics(usage_, &metrics);
    ShowGroups({.step = log_->num_groups(), .first = first_group_, .num_steps = num_groups_, .elapsed = Elapsed()},
               metrics, &context_.board);
  }

  std::map<std::string, double> Metrics() {
    double num_rejected = 0, length_sum = 0;
    std::map<std::string, double> metrics;
    for (const auto& [reason, number] : rejected_) {
      metrics[metric::RejectedCount(reason)] = static_cast<double>(number);
      num_rejected += static_cast<double>(number);
    }
    metrics[metric::kNumProblems] = static_cast<double>(num_groups_);
    metrics[metric::kNumSamples] = static_cast<double>(num_traces_) + num_rejected;
    metrics[metric::kNumTraces] = static_cast<double>(num_traces_);
    metrics[metric::kNumProblemsWithoutTrace] = static_cast<double>(num_unsolved_);
    if (contaminated_ != nullptr) metrics[metric::kNumProblemsContaminated] = static_cast<double>(num_contaminated_);
    problem_sums_.AddMetrics(&metrics);
    AddUsageMetrics(usage_, &metrics);
    if (!lengths_.empty()) {
      std::sort(lengths_.begin(), lengths_.end());
      for (const int64_t length : lengths_) length_sum += static_cast<double>(length);
      metrics[metric::kTracesMeanLength] = length_sum / static_cast<double>(lengths_.size());
      metrics[metric::kTracesMedianLength] = static_cast<double>(lengths_[lengths_.size() / 2]);
      metrics[metric::kTracesMaxLength] = static_cast<double>(lengths_.back());
    }
    const double seconds = absl::ToDoubleSeconds(Elapsed());
    if (num_tokens_here_ > 0 && seconds > 0)
      metrics[metric::kTokensPerSecond] = static_cast<double>(num_tokens_here_) / seconds;
    return metrics;
  }

  // The policy's top-k beside the exported traces.
  absl::Status StoreTopK(StageReport* report) {
    if (options_.teacher_top_k == 0) return absl::OkStatus();
    context_.board.SetPhase("teacher_top_k");
    const StagePolicy& policy = *run_.policy;
    const TopKOrigin origin = {.k = options_.teacher_top_k,
                               .policy = group_.policy.policy_id(),
                               .policy_number = group_.policy.number(),
                               .weights_hash = policy.WeightsHash(),
                               .vocabulary_sha256 = VocabularyDigest(policy.tokenizer()),
                               .stage = context_.name,
                               .traces_file = std::filesystem::path(report->exported_to).filename().string(),
                               .traces_sha256 = report->artifact_sha256};
    const std::string folder = TopKFolder(report->exported_to);
    TopKWriter writer(
        folder, origin,
        [&](const std::vector<TokenizedTrace>& traces) -> absl::StatusOr<std::vector<TopK>> {
          absl::StatusOr<std::vector<TopK>> tops = policy.TopLogprobs(traces, options_.teacher_top_k);
          if (!tops.ok()) return Annotate(tops.status(), "the teacher's top-k");
          return tops;
        },
        [this] { return context_.saver.Poll([this] { return before_; }); });
    RETURN_IF_ERROR(log_->ForEach([&](const nlohmann::ordered_json& trace) -> absl::Status {
      // Strings, as the log has seen to it.
      DataItem item;
      item.prompt.set_id(trace.value("id", ""));
      item.prompt.set_text(trace.at("problem").get_ref<const std::string&>());
      item.completion = trace.at("completion").get_ref<const std::string&>();
      ASSIGN_OR_RETURN(TokenizedTrace tokens, TokenizeTrace(item, policy.tokenizer(), EndToken(policy.config())));
      return writer.Add(std::move(tokens));
    }));
    ASSIGN_OR_RETURN(const TopKWriter::Summary summary, writer.Finish());
    report->metrics[metric::kStoredTopKBytes] = static_cast<double>(summary.num_bytes);
    report->metrics[metric::kStoredTopKMassMean] = summary.mass_mean;
    spdlog::info("the top {} of {} tokens written to {}, {} bytes, {:.4f} of the probability", options_.teacher_top_k,
                 summary.num_rows, folder, summary.num_bytes, summary.mass_mean);
    return absl::OkStatus();
  }

  absl::StatusOr<StageReport> Finish() {
    RETURN_IF_ERROR(run_.data->Check());
    StageReport report{.policy = run_.policy->ref().policy_id(),
                       .policy_number = run_.policy->ref().number(),
                       .steps = num_groups_,
                       .metrics = Metrics()};
    if (num_traces_ == 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "of ", report.metrics.at(metric::kNumSamples), " completions none was accepted (see ",
          context_.files.run_dir(), "/synthesis/", context_.name,
          ".jsonl for the reasons): there is nothing to learn from. Sample more, or a policy that solves some of these "
          "problems"));
    }
    report.artifact = options_.export_to;
    report.exported_to = context_.files.ArtifactPath(options_.export_to);
    RETURN_IF_ERROR(MakeFolders(std::filesystem::path(report.exported_to).parent_path().string()));
    ASSIGN_OR_RETURN(report.artifact_sha256, log_->Export(report.exported_to));
    RETURN_IF_ERROR(log_->ExportProblems(ProblemsFile(report.exported_to)).status());
    spdlog::info("{} traces of {} problems written to {}", num_traces_, num_groups_ - num_unsolved_,
                 report.exported_to);
    RETURN_IF_ERROR(StoreTopK(&report));
    context_.records.metrics.Append(context_.name, num_groups_, report.metrics);
    return report;
  }

  StageContext& context_;
  const Options& options_;
  // What a checkpoint keeps of the stage: that it has not begun.
  const StageCursor before_;
  const absl::Duration start_time_;
  const std::vector<TeacherShare> teachers_;
  JudgedRun run_;
  GroupTemplate group_;
  // Null when there is nothing to keep out.
  std::unique_ptr<Decontamination> contaminated_;
  TeacherGroups groups_;
  std::unique_ptr<TraceSelector> selector_;
  ProblemSums problem_sums_;
  std::unique_ptr<TraceLog> log_;
  int64_t first_group_ = 0, num_groups_ = 0, num_traces_ = 0, num_unsolved_ = 0, num_contaminated_ = 0;
  // Sampled since this process started.
  int64_t num_tokens_here_ = 0;
  std::map<std::string, int64_t> rejected_;
  // Of the kept traces whose tokens are known.
  std::vector<int64_t> lengths_;
  // Of all groups, where an endpoint answered them.
  v1::EndpointUsage usage_;
};

class SynthesizeStage : public Stage {
 public:
  explicit SynthesizeStage(Options options) : options_(std::move(options)) {}

  static StageView View() {
    StageView view;
    view.step_unit = "group";
    view.progress = {{.metric = metric::kTokensPerSecond, .label = ""}};
    view.table.title = "Synthesis";
    view.table.heading = "traces";
    view.table.details = true;
    view.table.of_round = {metric::kNumTraces, metric::kNumProblemsWithoutTrace};
    view.writes_data = true;
    return view;
  }

  std::vector<Reference> references() const override {
    std::vector<Reference> references = options_.keys.References(options_.judged);
    references.push_back({.key = "export_to", .section = "artifacts", .value = options_.export_to, .required = true});
    return references;
  }
  std::vector<RuleReference> rules() const override { return options_.keys.Rules(options_.judged); }
  std::vector<Conflict> Conflicts() const override {
    std::vector<Conflict> conflicts = options_.keys.Conflicts(options_.judged);
    if (options_.teacher_top_k > 0 && (options_.keys.teachers.size() > 1 || options_.keys.rewrite.enabled())) {
      conflicts.push_back({"teacher_top_k",
                           "is not 0, and what is stored is of the traces of one teacher: set it to 0, "
                           "or let one policy solve the problems"});
    }
    return conflicts;
  }
  std::vector<std::string> writes() const override { return {options_.export_to}; }
  std::optional<TopKOutput> top_k_output() const override {
    TopKOutput output{.artifact = options_.export_to,
                      .policy = options_.keys.Teachers(options_.judged)[0].policy,
                      .k = options_.teacher_top_k,
                      .key = "teacher_top_k"};
    if (const std::optional<int64_t> tokens = options_.judged.Cost().tokens; tokens.has_value())
      output.num_bytes = output.k > 0 ? MaxTopKBytes(output.k, *tokens) : 0;
    return output;
  }
  StageCost cost() const override { return options_.judged.Cost(); }
  std::vector<DataUse> reads() const override { return options_.keys.Reads(options_.judged, "stage type synthesize"); }
  absl::StatusOr<StageReport> Run(StageContext& context, StageCursor start) const override {
    return Synthesis(context, options_, start).Run();
  }

 private:
  const Options options_;
};

}  // namespace

StagePlugin Stage_synthesize() {
  return MakeStagePlugin<Options, SynthesizeStage>(
      "Samples every problem of a data set and writes the completions that the reward accepts, one a line.");
}

}  // namespace grpo
