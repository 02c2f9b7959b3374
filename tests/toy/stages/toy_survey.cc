// A stage as somebody else would add it: samples a few problems once each, and writes down how much the policy had to
// say. It has an option of its own, a table, a line of progress, and data that a later stage may read.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/stage/context.h"
#include "trainer/stage/group_feed.h"
#include "trainer/stage/stage_plugin.h"

namespace grpo {
namespace {

struct Options {
  std::string policy;
  std::string data;
  std::string rewards;
  int64_t problems = 4;
  int64_t long_tokens = 8;
  SamplingOptions sampling;
  std::string export_to;

  template <class V>
  void Visit(V& v) {
    v("policy", policy, {.help = "Key under `policies`: who is asked.", .required = true});
    v("data", data, {.help = "Key under `data`: the questions.", .required = true});
    v("rewards", rewards, {.help = "Key under `rewards`: what is reported of the answers.", .required = true});
    v("problems", problems, {.help = "How many are asked.", .min = 1, .max = 1000});
    v("long_tokens", long_tokens, {.help = "An answer of so many tokens is long.", .unit = "tokens", .min = 1});
    v("sampling", sampling, {.help = "How completions are drawn."});
    v("export_to", export_to, {.help = "Key under `artifacts`: the answers, one a line.", .required = true});
  }
};

class ToySurvey : public Stage {
 public:
  explicit ToySurvey(Options options) : options_(std::move(options)) {}

  static StageView View() {
    StageView view;
    view.step_unit = "question";
    view.progress = {{.metric = "long_rate", .label = "long"}};
    view.table = {.title = "Surveys", .heading = "survey", .by_policy = true};
    view.writes_data = true;
    return view;
  }

  std::vector<Reference> references() const override {
    return {{.key = "policy", .section = "policies", .value = options_.policy, .required = true},
            {.key = "data", .section = "data", .value = options_.data, .required = true},
            {.key = "rewards", .section = "rewards", .value = options_.rewards, .required = true},
            {.key = "export_to", .section = "artifacts", .value = options_.export_to, .required = true}};
  }
  std::vector<std::string> writes() const override { return {options_.export_to}; }
  StageCost cost() const override {
    return {.batch = absl::StrCat(options_.problems, " questions"),
            .completions = options_.problems,
            .tokens = options_.problems * options_.sampling.max_new_tokens};
  }
  std::vector<DataUse> reads() const override {
    return {{.reader = "stage type toy_survey",
             .data = options_.data,
             .policy = options_.policy,
             .rewards = options_.rewards,
             .max_new_tokens = options_.sampling.max_new_tokens,
             .num_items = options_.problems}};
  }

  absl::StatusOr<StageReport> Run(StageContext& context, StageCursor start) const override {
    ASSIGN_OR_RETURN(StagePolicy* const policy, context.models.Get(options_.policy));
    ASSIGN_OR_RETURN(const auto data, context.files.OpenData(options_.data));
    ASSIGN_OR_RETURN(const int64_t num_groups, CountProblems(*data, options_.data, options_.problems));
    const GroupTemplate group{.stage = context.name,
                              .kind = v1::LEASE_KIND_SYNTHESIZE,
                              .policy = policy->ref(),
                              .reward = {},
                              .sampling = ToProto(options_.sampling, 1)};
    ASSIGN_OR_RETURN(const v1::RewardProfileRef reward, ProfileRef(context.config, options_.rewards));
    context.records.completions.Rewind(context.name, 0);
    context.board.UpdateStage([&](v1::StageStatus& stage) { stage.set_num_steps(num_groups); });
    RETURN_IF_ERROR(Publish(context, *policy));
    GroupFeed feed(context.groups, context.name, 0, num_groups, [&](int64_t i) {
      GroupTemplate asked = group;
      asked.reward = reward;
      return MakeLease(asked, context.config.run.seed, i, data->At(i).prompt);
    });
    // A checkpoint keeps nothing of it.
    const auto poll = [&] { return context.saver.Poll([&] { return StageCursor{.stage_index = start.stage_index}; }); };
    ASSIGN_OR_RETURN(const std::vector<ScoredGroup> groups, feed.Next(num_groups, poll));
    context.records.completions.Append(context.name, num_groups, groups);
    return Finish(context, groups, policy->ref());
  }

 private:
  absl::StatusOr<StageReport> Finish(StageContext& context, const std::vector<ScoredGroup>& groups,
                                     const v1::PolicyRef& policy) const {
    StageReport report{.policy = policy.policy_id(),
                       .policy_number = policy.number(),
                       .steps = std::min(options_.problems, static_cast<int64_t>(groups.size())),
                       .exported_to = context.files.ArtifactPath(options_.export_to),
                       .artifact = options_.export_to};
    std::string answers;
    double num_long = 0;
    for (const ScoredGroup& group : groups) {
      const v1::Completion& completion = group.completions[0].completion();
      num_long += CompletionLength(completion) >= options_.long_tokens;
      const nlohmann::json answer = {{"problem", group.lease.prompt().text()},
                                     {"answer", group.lease.prompt().answer()},
                                     {"completion", completion.text()}};
      absl::StrAppend(&answers, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "\n");
    }
    report.metrics["num_answers"] = static_cast<double>(groups.size());
    if (!groups.empty()) report.metrics["long_rate"] = num_long / static_cast<double>(groups.size());
    RETURN_IF_ERROR(WriteFileAtomically(report.exported_to, answers));
    report.artifact_sha256 = Sha256Hex(answers);
    context.records.metrics.Append(context.name, report.steps, report.metrics);
    return report;
  }

  const Options options_;
};

}  // namespace

StagePlugin Stage_toy_survey() {
  return MakeStagePlugin<Options, ToySurvey>("Asks a policy a few questions and writes down what it says.");
}

}  // namespace grpo
