#include <memory>
#include <string>
#include <utility>

#include "absl/strings/strip.h"
#include "common/lap_times.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "model/weights/live_weights.h"
#include "tools/grpoctl_model/bench/benches.h"
#include "tools/grpoctl_model/bench/synthetic_groups.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/packer.h"
#include "trainer/learner.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

constexpr char kPolicy[] = "bench";
constexpr double kLearningRate = 1e-6;

// In the order in which they come.
constexpr const char* kUpdatePhases[] = {metric::kPackSeconds,         metric::kForwardSeconds,  metric::kHeadSeconds,
                                         metric::kHeadBackwardSeconds, metric::kBackwardSeconds, metric::kReduceSeconds,
                                         metric::kOptimizerSeconds,    metric::kCompareSeconds};

std::string PhaseName(const char* metric) {
  return std::string(absl::StripSuffix(metric, "_seconds"));
}

absl::StatusOr<std::unique_ptr<Algorithm>> MakeGrpo(const BenchOptions& options) {
  Section section = WithText({}, "rewards", "none");
  section = WithNumber(section, "prompts_per_step", static_cast<double>(options.prompts));
  return MakeAlgorithm("grpo", WithNumber(section, "group_size", static_cast<double>(options.group)));
}

// What a step's products are at least, of the micro-batches that the loop makes. Backward: as much again for the
// inputs' gradients and for the weights'. Attention's own are not counted.
absl::Status SetWork(const BenchOptions& options, const ModelConfig& config, const StepBatch& batch,
                     BenchReport* report) {
  int64_t rows = 0, targets = 0;
  for (const std::vector<TokenStreams>& sequences : batch.minibatches) {
    ASSIGN_OR_RETURN(const std::vector<Microbatch> microbatches, Pack(sequences, options.micro_batch_tokens));
    for (const Microbatch& microbatch : microbatches) {
      rows += microbatch.ids.numel();
      targets += microbatch.target_ids.numel();
    }
  }
  const double layers = LinearFlopPerToken(config) * static_cast<double>(rows);
  const double head = HeadFlopPerToken(config) * static_cast<double>(targets);
  report->work[PhaseName(metric::kForwardSeconds)] = WorkIn(options.dtype, layers);
  report->work[PhaseName(metric::kBackwardSeconds)] = WorkIn(options.dtype, 2 * layers);
  report->work[PhaseName(metric::kHeadSeconds)] = WorkIn(at::kFloat, head);
  report->work[PhaseName(metric::kHeadBackwardSeconds)] = WorkIn(at::kFloat, 2 * head);
  report->setting["rows"] = rows;
  report->setting["targets"] = targets;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BenchReport> BenchStep(const BenchOptions& options) {
  PolicyStore policies({}, options.seed);
  {
    ASSIGN_OR_RETURN(const LoadedModel loaded, LoadBenchModel(options, /*storage=*/at::kFloat));
    v1::PolicyRef ref;
    ref.set_policy_id(kPolicy);
    ASSIGN_OR_RETURN(const auto weights, LiveWeights::Of(*loaded.model, loaded.tokenizer_json, ref));
    RETURN_IF_ERROR(policies.Restore(*weights));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Algorithm> algorithm, MakeGrpo(options));
  const OptimizerOptions optimizer;
  const LearnerSpec spec{.policy = kPolicy, .algorithm = *algorithm, .optimizer = optimizer, .num_steps = 1 << 20};
  const std::unique_ptr<Collectives> alone = Collectives::SingleRank();
  const TrainerOptions trainer{.micro_batch_tokens = options.micro_batch_tokens,
                               .activation_checkpointing = options.activation_checkpointing};
  ASSIGN_OR_RETURN(const std::unique_ptr<Learner> learner, Learner::Create(trainer, spec, &policies, alone.get()));
  const Transformer& model = *learner->policy().model;
  RolloutInput input;
  ASSIGN_OR_RETURN(input.groups, SyntheticGroups(options, model));
  const StepInput step_input = std::move(input);

  BenchReport report = BeginReport("step", options, model.config());
  report.phase_order = {"prepare"};
  for (const char* metric : kUpdatePhases) report.phase_order.push_back(PhaseName(metric));
  report.count = static_cast<double>(options.completions() * options.new_tokens);
  ASSIGN_OR_RETURN(const StepBatch batch, algorithm->Prepare(step_input));
  RETURN_IF_ERROR(SetWork(options, model.config(), batch, &report));
  double largest_difference = 0;
  RETURN_IF_ERROR(TimeRepeats(
      options,
      [&]() -> absl::StatusOr<std::map<std::string, double>> {
        LapTimes laps;
        laps.Start();
        ASSIGN_OR_RETURN(const StepBatch prepared, algorithm->Prepare(step_input));
        laps.Lap("prepare");
        ASSIGN_OR_RETURN(const StepResult result, learner->Step(prepared, kLearningRate));
        std::map<std::string, double> phases = laps.seconds();
        for (const char* metric : kUpdatePhases) phases[PhaseName(metric)] = result.metrics.at(metric);
        largest_difference = result.metrics.at(metric::kLogprobAbsDiffMax);
        return phases;
      },
      &report));
  report.setting["logprob_abs_diff_max"] = largest_difference;
  return report;
}

}  // namespace grpo
