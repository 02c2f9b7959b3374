#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/tensor.h"
#include "rollout/engine.h"
#include "tools/grpoctl_model/bench/benches.h"
#include "tools/grpoctl_model/bench/operators.h"

namespace grpo {
namespace {

absl::Status AddGroups(const BenchOptions& options, int64_t vocab_size, Engine& engine) {
  for (int64_t i = 0; i < options.prompts; ++i) {
    GenerateRequest request{.id = i,
                            .prompt_ids = PromptIds(options, vocab_size, i),
                            .seed = GroupSeed(options.seed, "bench", i),
                            .sampling = {}};
    request.sampling.set_num_completions(static_cast<int32_t>(options.group));
    request.sampling.set_max_new_tokens(static_cast<int32_t>(options.new_tokens));
    request.sampling.set_temperature(1);
    RETURN_IF_ERROR(engine.Add(std::move(request)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BenchReport> BenchRollout(const BenchOptions& options) {
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadBenchModel(options, /*storage=*/options.dtype));
  const std::shared_ptr<const Transformer> model = std::move(loaded.model);
  const int64_t vocab_size = model->config().vocab_size;
  BenchReport report = BeginReport("rollout", options, model->config());
  report.setting["slots"] = options.num_slots();
  report.phase_order = {"prefill", "decode", "head", "sample", "other"};
  report.count = static_cast<double>(options.completions() * options.new_tokens);
  SetSamplingWork(options, model->config(), model->placement().storage, "", &report);
  std::optional<Engine> engine;
  RETURN_IF_ERROR(TorchGuard([&] {
    engine.emplace(
        model, /*number=*/1,
        Engine::Options{
            .num_slots = options.num_slots(), .max_tokens = options.context_tokens(), .ignore_end_tokens = true});
    return absl::OkStatus();
  }));
  const Clock& clock = Clock::Real();
  RETURN_IF_ERROR(TimeRepeats(
      options,
      [&]() -> absl::StatusOr<BenchRepeat> {
        const absl::Duration begin = clock.Now();
        const PhaseSeconds before = engine->seconds();
        RETURN_IF_ERROR(AddGroups(options, vocab_size, *engine));
        while (!engine->idle()) RETURN_IF_ERROR(engine->Step().status());
        BenchRepeat repeat;
        AddDifference(before, engine->seconds(), &repeat.phases);
        double other = absl::ToDoubleSeconds(clock.Now() - begin);
        for (const auto& [name, seconds] : repeat.phases) other -= seconds;
        repeat.phases["other"] = std::max(0.0, other);
        return repeat;
      },
      &report));
  if (options.profile) {
    const OperatorTimes times(vocab_size);
    RETURN_IF_ERROR(AddGroups(options, vocab_size, *engine));
    while (!engine->idle()) RETURN_IF_ERROR(engine->Step().status());
    report.figures["operators"] = times.Longest(kLongestOperators);
  }
  return report;
}

}  // namespace grpo
