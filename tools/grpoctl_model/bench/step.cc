#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/lap_times.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "tools/grpoctl_model/bench/bench_policy.h"
#include "tools/grpoctl_model/bench/benches.h"
#include "tools/grpoctl_model/bench/local_service.h"
#include "tools/grpoctl_model/bench/operators.h"
#include "tools/grpoctl_model/bench/synthetic_groups.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/packer.h"
#include "trainer/learner.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

constexpr double kLearningRate = 1e-6;

// In the order in which they come.
constexpr const char* kUpdatePhases[] = {metric::kPackSeconds,         metric::kForwardSeconds,  metric::kHeadSeconds,
                                         metric::kHeadBackwardSeconds, metric::kBackwardSeconds, metric::kReduceSeconds,
                                         metric::kOptimizerSeconds,    metric::kCompareSeconds};

std::string PhaseName(const char* metric) {
  return absl::StrCat("update/", absl::StripSuffix(metric, "_seconds"));
}

absl::StatusOr<std::unique_ptr<Algorithm>> MakeGrpo(const BenchOptions& options) {
  Section section = WithText({}, "rewards", "none");
  section = WithNumber(section, "prompts_per_step", static_cast<double>(options.prompts));
  return MakeAlgorithm("grpo", WithNumber(section, "group_size", static_cast<double>(options.group)));
}

// A learner and where its groups come from: a worker, or, without one, always the same.
struct Trainer {
  std::unique_ptr<PolicyStore> policies;
  std::unique_ptr<Algorithm> algorithm;
  OptimizerOptions optimizer;
  std::unique_ptr<Collectives> alone;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<LocalService> service;
  StepInput synthetic;

  const Transformer& model() const { return *learner->policy().model; }
};

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const BenchOptions& options) {
  auto made = std::make_unique<Trainer>();
  made->alone = Collectives::SingleRank(options.device);
  made->policies = std::make_unique<PolicyStore>(std::map<std::string, PolicyOptions>(), options.seed, options.device);
  RETURN_IF_ERROR(AddBenchPolicy(options, made->policies.get()).status());
  ASSIGN_OR_RETURN(made->algorithm, MakeGrpo(options));
  const LearnerSpec spec{.policy = kBenchPolicy,
                         .algorithm = *made->algorithm,
                         .optimizer = made->optimizer,
                         .num_steps = options.repeats + 1};
  const TrainerOptions trainer{.micro_batch_tokens = options.micro_batch_tokens,
                               .activation_checkpointing = options.activation_checkpointing};
  ASSIGN_OR_RETURN(made->learner, Learner::Create(trainer, spec, made->policies.get(), made->alone.get()));
  if (options.whole) {
    ASSIGN_OR_RETURN(made->service, LocalService::Start(options, options.channel));
    return made;
  }
  RolloutInput input;
  ASSIGN_OR_RETURN(input.groups, SyntheticGroups(options, made->model()));
  made->synthetic = std::move(input);
  return made;
}

// What an update's products are at least, of the micro-batches that the loop makes. Backward: as much again for the
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
  report->work[PhaseName(metric::kHeadSeconds)] = WorkIn(options.head_dtype, head);
  report->work[PhaseName(metric::kHeadBackwardSeconds)] = WorkIn(options.head_dtype, 2 * head);
  // As a worker keeps them.
  if (options.whole) SetSamplingWork(options, config, options.dtype, "sample/", report);
  report->figures["linear_flop"] = 3 * layers;
  report->figures["rows"] = rows;
  report->figures["targets"] = targets;
  return absl::OkStatus();
}

// The layers' products alone, all three of each matrix, beside the limit.
void SetLinears(double seconds, at::ScalarType dtype, BenchReport* report) {
  if (seconds <= 0) return;
  const double gflops = report->figures["linear_flop"].get<double>() / seconds / 1e9;
  report->figures["linears"] = {{"seconds", seconds}, {"gflops", gflops}};
  if (!report->limits.has_value()) return;
  const double limit =
      dtype == at::kBFloat16 ? report->limits->gemm_bfloat16_gflops : report->limits->gemm_float32_gflops;
  report->figures["linears"]["gemm_frac"] = gflops / limit;
}

// One step; its batch and the loop's metrics are left in the two.
absl::StatusOr<PhaseSeconds> Step(Trainer& trainer, StepBatch* batch, StepResult* result) {
  PhaseSeconds phases;
  StepInput sampled;
  if (trainer.service != nullptr) {
    ASSIGN_OR_RETURN(LocalService::Sampled groups, trainer.service->Sample(trainer.learner->policy()));
    phases = std::move(groups.phases);
    sampled = RolloutInput{.groups = std::move(groups.groups)};
  }
  LapTimes laps;
  laps.Start();
  ASSIGN_OR_RETURN(*batch, trainer.algorithm->Prepare(trainer.service != nullptr ? sampled : trainer.synthetic));
  laps.Lap("update/prepare");
  ASSIGN_OR_RETURN(*result, trainer.learner->Step(*batch, kLearningRate, /*step=*/0));
  phases.insert(laps.seconds().begin(), laps.seconds().end());
  for (const char* metric : kUpdatePhases) phases[PhaseName(metric)] = result->metrics.at(metric);
  return phases;
}

std::vector<std::string> PhaseOrder() {
  std::vector<std::string> order = {"publish/pack",  "publish/transfer", "publish/start", "sample/prefill",
                                    "sample/decode", "sample/head",      "sample/sample", "sample/other",
                                    "score",         "update/prepare"};
  for (const char* metric : kUpdatePhases) order.push_back(PhaseName(metric));
  return order;
}

}  // namespace

absl::StatusOr<BenchReport> BenchStep(const BenchOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer, MakeTrainer(options));
  BenchReport report = BeginReport("step", options, trainer->model().config());
  report.setting["whole"] = options.whole;
  report.phase_order = PhaseOrder();
  report.count = static_cast<double>(options.completions() * options.new_tokens);
  StepBatch batch;
  StepResult result;
  double largest_difference = 0;
  bool first = true;
  RETURN_IF_ERROR(TimeRepeats(
      options,
      [&]() -> absl::StatusOr<BenchRepeat> {
        ASSIGN_OR_RETURN(PhaseSeconds phases, Step(*trainer, &batch, &result));
        // Synthetic groups are on policy in the first step alone.
        if (options.whole || first) {
          largest_difference = std::max(largest_difference, result.metrics.at(metric::kLogprobAbsDiffMax));
        }
        first = false;
        return BenchRepeat{.phases = std::move(phases)};
      },
      &report));
  if (options.whole) report.setting["channel"] = trainer->service->channel();
  RETURN_IF_ERROR(SetWork(options, trainer->model().config(), batch, &report));
  report.figures["logprob_abs_diff_max"] = largest_difference;
  if (options.profile) {
    const OperatorTimes times(trainer->model().config().vocab_size);
    RETURN_IF_ERROR(trainer->learner->Step(batch, kLearningRate, /*step=*/0).status());
    SetLinears(times.LinearSeconds(), options.dtype, &report);
    report.figures["operators"] = times.Longest(kLongestOperators);
  }
  return report;
}

}  // namespace grpo
