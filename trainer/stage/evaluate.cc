// A stage of type `evaluate`: groups 0 .. P-1 are the sampled problems, groups P .. P+Q-1 the greedy ones.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/algorithm/rollout_metrics.h"
#include "trainer/stage/context.h"
#include "trainer/stage/evaluation.h"
#include "trainer/stage/group_feed.h"

namespace grpo {
namespace {

using nlohmann::json;

class EvaluateStage {
 public:
  EvaluateStage(RunContext& context, const StageOptions& stage) : context_(context), stage_(stage) {}

  absl::StatusOr<json> Run() {
    RETURN_IF_ERROR(Prepare());
    GroupFeed feed(&context_, stage_.name, 0, num_groups_, [this](int64_t i) { return GroupLease(i); });
    for (int64_t first = 0; first < num_groups_;) {
      // Sampled and greedy groups are counted apart, so a batch holds one kind.
      const int64_t end = first < num_sampled_ ? num_sampled_ : num_groups_;
      const int64_t count = std::min(kCollectGroups, end - first);
      ASSIGN_OR_RETURN(const std::vector<ScoredGroup> groups,
                       feed.Next(count, [&] { return PollBeforeStage(context_); }));
      for (const ScoredGroup& group : groups) Count(group);
      first += count;
      context_.completions->Append(stage_.name, first, groups);
      context_.board->Update(
          [&](v1::RunStatus& status) { status.mutable_stages(status.stage_index())->set_step(first); });
    }
    return Finish();
  }

 private:
  absl::Status Prepare() {
    RETURN_IF_ERROR(LoadOptions(stage_.options, &options_));
    ASSIGN_OR_RETURN(policy_, context_.policies->Get(options_.policy));
    ASSIGN_OR_RETURN(data_, OpenData(context_, options_.data));
    ASSIGN_OR_RETURN(num_sampled_, CountProblems(*data_, options_.data, options_.problems));
    ASSIGN_OR_RETURN(reward_, CheckProblems(context_, *data_, options_.rewards, *policy_, options_.sampling));
    const int64_t available = data_->size() < 0 ? num_sampled_ : data_->size();
    num_groups_ = num_sampled_ + (options_.greedy ? available : 0);
    context_.completions->Rewind(stage_.name, 0);
    context_.board->Update(
        [&](v1::RunStatus& status) { status.mutable_stages(status.stage_index())->set_num_steps(num_groups_); });
    return PublishPolicy(context_, *policy_);
  }

  v1::Lease GroupLease(int64_t i) const {
    const bool greedy = i >= num_sampled_;
    GroupTemplate group{.stage = stage_.name,
                        .kind = v1::LEASE_KIND_EVALUATE,
                        .policy = policy_->ref(),
                        .reward = reward_,
                        .sampling = ToProto(options_.sampling, greedy ? 1 : options_.samples_per_problem)};
    if (greedy) group.sampling.set_temperature(0);
    return MakeLease(group, context_.config.run.seed, i, data_->At(greedy ? i - num_sampled_ : i).prompt);
  }

  void Count(const ScoredGroup& group) {
    const bool greedy = group.lease.key().group_index() >= num_sampled_;
    ProblemSamples problem;
    for (const v1::ScoredCompletion& scored : group.completions) {
      num_tokens_ += scored.completion().ids_size();
      const v1::RuleScore* accuracy = FindRule(scored.score(), options_.accuracy_rule);
      const bool solved = accuracy != nullptr && accuracy->value() >= 1;
      if (greedy) {
        greedy_solved_ += solved;
        continue;
      }
      problem.samples.push_back({.solved = solved, .extracted = accuracy == nullptr ? "" : accuracy->extracted()});
      if (const v1::RuleScore* format = FindRule(scored.score(), options_.format_rule)) format_sum_ += format->value();
    }
    if (greedy) {
      ++num_greedy_;
      return;
    }
    problems_.push_back(std::move(problem));
    sampled_.push_back(group);
  }

  // Every denominator counts what is there: quarantined problems are missing. A mean over nothing is left out.
  std::map<std::string, double> Metrics() const {
    const int64_t num_problems = static_cast<int64_t>(problems_.size());
    std::map<std::string, double> metrics = AccuracyMetrics(problems_);
    metrics["num_problems"] = static_cast<double>(num_problems);
    metrics["samples_per_problem"] = static_cast<double>(options_.samples_per_problem);
    metrics["num_parameters"] = static_cast<double>(policy_->model->config().NumParameters());
    // What samples them may know no tokens.
    if (num_tokens_ > 0) {
      metrics["tokens_per_second"] = num_tokens_ / absl::ToDoubleSeconds(Clock::Real().Now() - start_time_);
    }
    if (num_problems > 0) {
      const std::map<std::string, double> rollout = RolloutMetrics(sampled_);
      metrics["format_rate"] = format_sum_ / static_cast<double>(num_problems * options_.samples_per_problem);
      if (const auto length = rollout.find("completions/mean_length"); length != rollout.end()) {
        metrics["mean_completion_tokens"] = length->second;
      }
      metrics["clipped_ratio"] = rollout.at("completions/clipped_ratio");
      for (const auto& [name, value] : rollout) {
        if (name.rfind("rewards/", 0) == 0 || name.rfind("outcomes/", 0) == 0 || name == "reward")
          metrics[name] = value;
      }
    }
    if (num_greedy_ > 0) {
      metrics["greedy_accuracy"] = static_cast<double>(greedy_solved_) / static_cast<double>(num_greedy_);
      metrics["num_greedy_problems"] = static_cast<double>(num_greedy_);
    }
    const int64_t num_quarantined = num_groups_ - num_problems - num_greedy_;
    if (num_quarantined > 0) metrics["num_quarantined_groups"] = static_cast<double>(num_quarantined);
    return metrics;
  }

  absl::StatusOr<json> Finish() {
    const std::map<std::string, double> metrics = Metrics();
    context_.metrics->Append(stage_.name, num_groups_, metrics);
    context_.board->Update([&](v1::RunStatus& status) {
      for (const auto& [name, value] : metrics)
        (*status.mutable_stages(status.stage_index())->mutable_metrics())[name] = value;
    });
    return json{
        {"policy", policy_->id}, {"policy_number", policy_->number}, {"steps", num_groups_}, {"metrics", metrics}};
  }

  RunContext& context_;
  const StageOptions& stage_;
  const absl::Duration start_time_ = Clock::Real().Now();
  EvaluateStageOptions options_;
  Policy* policy_ = nullptr;
  std::unique_ptr<DataSource> data_;
  v1::RewardProfileRef reward_;
  int64_t num_sampled_ = 0, num_groups_ = 0;
  std::vector<ProblemSamples> problems_;
  std::vector<ScoredGroup> sampled_;
  int64_t num_greedy_ = 0, greedy_solved_ = 0;
  double format_sum_ = 0, num_tokens_ = 0;
};

}  // namespace

absl::StatusOr<json> RunEvaluateStage(RunContext& context, const StageOptions& stage) {
  return EvaluateStage(context, stage).Run();
}

}  // namespace grpo
