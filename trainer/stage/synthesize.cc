// A stage of type `synthesize`: group i is problem i of the data. What was sampled before the run was killed is not
// sampled again.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/fingerprint.h"
#include "trainer/stage/context.h"
#include "trainer/stage/group_feed.h"
#include "trainer/stage/traces.h"

namespace grpo {
namespace {

using nlohmann::json;

class SynthesizeStage {
 public:
  SynthesizeStage(RunContext& context, const StageOptions& stage) : context_(context), stage_(stage) {}

  absl::StatusOr<json> Run() {
    RETURN_IF_ERROR(Prepare());
    GroupFeed feed(&context_, stage_.name, log_->num_groups(), num_groups_,
                   [this](int64_t i) { return MakeLease(group_, context_.config.run.seed, i, data_->At(i).prompt); });
    while (log_->num_groups() < num_groups_) {
      const int64_t count = std::min(kCollectGroups, num_groups_ - log_->num_groups());
      ASSIGN_OR_RETURN(const std::vector<ScoredGroup> groups,
                       feed.Next(count, [&] { return PollBeforeStage(context_); }));
      RETURN_IF_ERROR(Keep(groups, log_->num_groups() + count));
      ShowStep();
    }
    return Finish();
  }

 private:
  absl::Status Prepare() {
    RETURN_IF_ERROR(LoadOptions(stage_.options, &options_));
    ASSIGN_OR_RETURN(policy_, context_.policies->Get(options_.policy));
    ASSIGN_OR_RETURN(data_, OpenData(context_, options_.data));
    ASSIGN_OR_RETURN(num_groups_, CountProblems(*data_, options_.data, options_.problems));
    ASSIGN_OR_RETURN(const v1::RewardProfileRef reward,
                     CheckProblems(context_, *data_, options_.rewards, *policy_, options_.sampling));
    group_ = {.stage = stage_.name,
              .kind = v1::LEASE_KIND_SYNTHESIZE,
              .policy = policy_->ref(),
              .reward = reward,
              .sampling = ToProto(options_.sampling, options_.samples_per_problem)};
    selector_ = std::make_unique<TraceSelector>(options_);
    RETURN_IF_ERROR(OpenLog());
    context_.board->Update(
        [&](v1::RunStatus& status) { status.mutable_stages(status.stage_index())->set_num_steps(num_groups_); });
    ShowStep();
    return PublishPolicy(context_, *policy_);
  }

  absl::Status OpenLog() {
    const std::string folder = absl::StrCat(context_.run_dir, "/synthesis");
    RETURN_IF_ERROR(MakeFolders(folder));
    const nlohmann::ordered_json origin = {{"stage", stage_.name},
                                           {"policy", policy_->id},
                                           {"policy_number", policy_->number},
                                           {"weights_hash", WeightsHash(policy_->model->NamedParameters())},
                                           {"rewards", options_.rewards},
                                           {"rewards_sha256", group_.reward.sha256()}};
    ASSIGN_OR_RETURN(log_, TraceLog::Open(absl::StrCat(folder, "/", stage_.name, ".jsonl"), origin,
                                          [this](const GroupTraces& group) {
                                            selector_->Remember(group);
                                            Count(group);
                                          }));
    context_.completions->Rewind(stage_.name, log_->num_groups());
    if (log_->num_groups() > 0)
      spdlog::info("stage {} goes on after {} problems of {}", stage_.name, log_->num_groups(), num_groups_);
    return absl::OkStatus();
  }

  // The groups up to `end`; of those that were quarantined nothing is kept.
  absl::Status Keep(const std::vector<ScoredGroup>& groups, int64_t end) {
    auto next = groups.begin();
    for (int64_t i = log_->num_groups(); i < end; ++i) {
      const bool there = next != groups.end() && next->lease.key().group_index() == i;
      GroupTraces traces;
      if (there) {
        // Before the log, which says what need not be sampled again.
        context_.completions->Append(stage_.name, i + 1, {*next});
        traces = selector_->Select(*next++);
      } else {
        traces.group_index = i;
        traces.rejected["quarantined"] = options_.samples_per_problem;
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
    for (const auto& [reason, number] : group.rejected) rejected_[reason] += number;
    for (const nlohmann::ordered_json& trace : group.traces) lengths_.push_back(trace.value("num_tokens", int64_t{0}));
  }

  void ShowStep() {
    context_.board->Update([&](v1::RunStatus& status) {
      v1::StageStatus* stage = status.mutable_stages(status.stage_index());
      stage->set_step(log_->num_groups());
      (*stage->mutable_metrics())["num_traces"] = static_cast<double>(num_traces_);
    });
  }

  std::map<std::string, double> Metrics() {
    double num_rejected = 0, length_sum = 0;
    std::map<std::string, double> metrics;
    for (const auto& [reason, number] : rejected_) {
      metrics[absl::StrCat("rejected/", reason)] = static_cast<double>(number);
      num_rejected += static_cast<double>(number);
    }
    metrics["num_problems"] = static_cast<double>(num_groups_);
    metrics["num_samples"] = static_cast<double>(num_traces_) + num_rejected;
    metrics["num_traces"] = static_cast<double>(num_traces_);
    metrics["num_problems_without_trace"] = static_cast<double>(num_unsolved_);
    if (!lengths_.empty()) {
      std::sort(lengths_.begin(), lengths_.end());
      for (const int64_t length : lengths_) length_sum += static_cast<double>(length);
      metrics["traces/mean_length"] = length_sum / static_cast<double>(num_traces_);
      metrics["traces/median_length"] = static_cast<double>(lengths_[lengths_.size() / 2]);
      metrics["traces/max_length"] = static_cast<double>(lengths_.back());
    }
    if (num_tokens_here_ > 0)
      metrics["tokens_per_second"] =
          static_cast<double>(num_tokens_here_) / absl::ToDoubleSeconds(Clock::Real().Now() - start_time_);
    return metrics;
  }

  absl::StatusOr<json> Finish() {
    const std::map<std::string, double> metrics = Metrics();
    if (num_traces_ == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("of ", metrics.at("num_samples"), " completions none was accepted (see ", context_.run_dir,
                       "/synthesis/", stage_.name,
                       ".jsonl for the reasons): there is nothing to learn from. Sample more, or a policy that solves "
                       "some of these problems"));
    }
    const std::string path = context_.ArtifactPath(options_.export_to);
    RETURN_IF_ERROR(MakeFolders(std::filesystem::path(path).parent_path().string()));
    ASSIGN_OR_RETURN(const std::string sha256, log_->Export(path));
    spdlog::info("{} traces of {} problems written to {}", num_traces_, num_groups_ - num_unsolved_, path);
    context_.metrics->Append(stage_.name, num_groups_, metrics);
    return json{
        {"policy", policy_->id}, {"policy_number", policy_->number}, {"steps", num_groups_},     {"metrics", metrics},
        {"exported_to", path},   {"artifact", options_.export_to},   {"artifact_sha256", sha256}};
  }

  RunContext& context_;
  const StageOptions& stage_;
  const absl::Duration start_time_ = Clock::Real().Now();
  SynthesizeStageOptions options_;
  Policy* policy_ = nullptr;
  std::unique_ptr<DataSource> data_;
  GroupTemplate group_;
  std::unique_ptr<TraceSelector> selector_;
  std::unique_ptr<TraceLog> log_;
  int64_t num_groups_ = 0, num_traces_ = 0, num_unsolved_ = 0;
  // Sampled since this process started.
  int64_t num_tokens_here_ = 0;
  std::map<std::string, int64_t> rejected_;
  // Of the kept traces.
  std::vector<int64_t> lengths_;
};

}  // namespace

absl::StatusOr<json> RunSynthesizeStage(RunContext& context, const StageOptions& stage) {
  return SynthesizeStage(context, stage).Run();
}

}  // namespace grpo
