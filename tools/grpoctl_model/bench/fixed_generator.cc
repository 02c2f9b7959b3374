#include "tools/grpoctl_model/bench/fixed_generator.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tensor.h"
#include "rollout/engine.h"
#include "rollout/sampled_group.h"

namespace grpo {
namespace {

class FixedGenerator final : public Generator {
 public:
  FixedGenerator(const BenchOptions& options, const GeneratorContext& context, GeneratorTimes* times)
      : options_(options), clock_(context.clock), times_(*times) {}

  absl::Status SwapWeights(const HeldPolicy& policy) override {
    const absl::Duration offered = clock_.Now();
    policy_ = policy;
    if (engine_.has_value()) {
      engine_->SwapWeights(policy.model, policy.manifest.policy().number());
    } else {
      RETURN_IF_ERROR(TorchGuard([&] {
        engine_.emplace(
            policy.model, policy.manifest.policy().number(),
            Engine::Options{
                .num_slots = options_.num_slots(), .max_tokens = options_.context_tokens(), .ignore_end_tokens = true});
        return absl::OkStatus();
      }));
    }
    times_.Took(offered, clock_.Now());
    return absl::OkStatus();
  }

  absl::Status Add(GroupRequest request) override {
    int64_t index = 0;
    if (!absl::SimpleAtoi(request.prompt, &index)) {
      return absl::InternalError(absl::StrCat("a bench's prompt is a number, not ", request.prompt));
    }
    return engine_->Add({.id = request.id,
                         .prompt_ids = PromptIds(options_, policy_.model->config().vocab_size, index),
                         .seed = request.seed,
                         .sampling = std::move(request.sampling)});
  }

  void Cancel(int64_t id) override { engine_->Cancel(id); }

  absl::StatusOr<std::vector<SampledGroup>> Step() override {
    const absl::Duration begin = clock_.Now();
    const PhaseSeconds before = engine_->seconds();
    ASSIGN_OR_RETURN(std::vector<GenerateResult> whole, engine_->Step());
    times_.Stepped(begin, clock_.Now(), before, engine_->seconds());
    std::vector<SampledGroup> groups;
    for (GenerateResult& result : whole) {
      groups.push_back(ToSampledGroup(std::move(result), *policy_.tokenizer, {}, policy_.manifest));
    }
    return groups;
  }

  bool idle() const override { return engine_->idle(); }
  int64_t num_unfinished() const override { return engine_->num_unfinished(); }
  int64_t num_tokens_generated() const override { return engine_->num_tokens_generated(); }

 private:
  const BenchOptions options_;
  const Clock& clock_;
  GeneratorTimes& times_;
  HeldPolicy policy_;
  std::optional<Engine> engine_;
};

}  // namespace

void GeneratorTimes::Took(absl::Duration offered, absl::Duration taken) {
  absl::MutexLock lock(&mutex_);
  times_.offered = offered;
  times_.taken = taken;
}

void GeneratorTimes::Stepped(absl::Duration begin, absl::Duration end, const PhaseSeconds& engine_before,
                             const PhaseSeconds& engine_after) {
  absl::MutexLock lock(&mutex_);
  if (times_.first_step_end == absl::ZeroDuration()) {
    times_.first_step_begin = begin;
    times_.first_step_end = end;
  }
  times_.last_step_end = end;
  AddDifference(engine_before, engine_after, &times_.engine);
}

absl::StatusOr<std::unique_ptr<Generator>> MakeFixedGenerator(const BenchOptions& options,
                                                              const GeneratorContext& context, GeneratorTimes* times) {
  auto generator = std::make_unique<FixedGenerator>(options, context, times);
  RETURN_IF_ERROR(generator->SwapWeights(context.policy));
  return generator;
}

}  // namespace grpo
