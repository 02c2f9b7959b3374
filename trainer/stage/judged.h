// What stages that sample a policy on problems and have rules judge share: keys, references, and what is set up before
// the first group. Links no torch.
#ifndef GRPO_TRAINER_STAGE_JUDGED_H_
#define GRPO_TRAINER_STAGE_JUDGED_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainer/options.h"
#include "trainer/plugin.h"
#include "trainer/stage/context.h"
#include "trainer/stage/stage.h"

namespace grpo {

// The keys of such a stage.
struct JudgedSampling {
  // Keys under `policies`, `data` and `rewards`.
  std::string policy = {}, data = {}, rewards = {};
  // From the start of the data; 0: all.
  int64_t problems = 0;
  int64_t samples_per_problem = 8;
  SamplingOptions sampling = {};
  // Rules of the profile: a value of 1 means that a completion is right; that it keeps the form.
  std::string accuracy_rule = "math_answer";
  std::string format_rule = "format_tags";

  // What the keys mean to the stage. Each is the key's help. max_samples_per_problem is its largest value.
  struct Words {
    const char *policy, *rewards, *problems, *samples_per_problem, *accuracy_rule, *format_rule;
    double max_samples_per_problem;
    // Whether there is no other key that may name who samples.
    bool is_policy_required = true;
  };
  // `own` visits the stage's own keys that stand beside samples_per_problem.
  template <class V, class OwnKeys>
  void Visit(V& v, const Words& words, OwnKeys&& own) {
    v("policy", policy, {.help = words.policy, .required = words.is_policy_required});
    v("data", data, {.help = "Key under `data`: the problems.", .required = true});
    v("rewards", rewards, {.help = words.rewards, .required = true});
    v("problems", problems, {.help = words.problems, .min = 0, .max = 1e9});
    v("samples_per_problem", samples_per_problem,
      {.help = words.samples_per_problem, .min = 1, .max = words.max_samples_per_problem});
    own();
    v("sampling", sampling, {.help = "How completions are drawn."});
    v("accuracy_rule", accuracy_rule, {.help = words.accuracy_rule});
    v("format_rule", format_rule, {.help = words.format_rule});
  }

  // policy, data and rewards, all required.
  std::vector<Reference> References() const;
  // `reader` is for messages.
  DataUse Reads(const std::string& reader) const;
  // `also` follows the batch's words. Without numbers where the data alone say how many problems there are.
  StageCost Cost(const std::string& also = "") const;
};

// A stage that is ready to sample.
struct JudgedRun {
  // The context's models own it.
  StagePolicy* policy = nullptr;
  std::unique_ptr<DataSource> data;
  // That are sampled.
  int64_t num_problems = 0;
  // CheckProblems's.
  v1::RewardProfileRef reward;
};

// Adds to a stage's metrics what an endpoint's answers cost; nothing when there were none.
void AddUsageMetrics(const v1::EndpointUsage& usage, std::map<std::string, double>* metrics);

// How far a stage is: `step` of num_steps groups, those from `first` on in the `elapsed` time of this start.
struct GroupProgress {
  int64_t step = 0, first = 0, num_steps = 0;
  absl::Duration elapsed;
};

// Puts that and the metrics into the stage's row of the status, and into the run's what is left.
void ShowGroups(const GroupProgress& progress, const std::map<std::string, double>& metrics, StatusBoard* board);

// What the group took: tokens, and money where an endpoint asks for it.
void Spend(const ScoredGroup& group, SpendingLog* spending);

// Publishes nothing yet. Makes the policy. Errors of Models::Get, RunFiles::OpenData and CountProblems.
absl::StatusOr<JudgedRun> PrepareJudged(const StageContext& context, const JudgedSampling& keys);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_JUDGED_H_
