// Our own sampler (rollout/engine.h) behind the interface: text in, text out, and everything that it carries.
#include "rollout/engine.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "model/tensor.h"
#include "model/tokenizer/prompt.h"
#include "model/weights/weight_set.h"
#include "rollout/generator_plugin.h"
#include "rollout/sampled_group.h"

namespace grpo {
namespace {

// All that it needs to know, every worker is told (`rollout_worker`): it has no options of its own.
class EngineGenerator final : public Generator {
 public:
  static absl::StatusOr<std::unique_ptr<Generator>> Create(const NoOptions& options, const GeneratorContext& context) {
    std::unique_ptr<EngineGenerator> generator(new EngineGenerator(context));
    RETURN_IF_ERROR(generator->ResetEngine());
    return generator;
  }

  absl::Status Add(GroupRequest request) override {
    ASSIGN_OR_RETURN(std::vector<uint32_t> prompt_ids, EncodePrompt(*policy_.tokenizer, request.prompt));
    RETURN_IF_ERROR(engine_->Add({.id = request.id,
                                  .prompt_ids = std::move(prompt_ids),
                                  .seed = request.seed,
                                  .sampling = request.sampling,
                                  .tokenizer = policy_.tokenizer.get()}));
    running_[request.id] = {std::move(request.sampling), policy_.tokenizer};
    return absl::OkStatus();
  }

  void Cancel(int64_t id) override {
    engine_->Cancel(id);
    running_.erase(id);
  }

  absl::Status SwapWeights(const HeldPolicy& policy) override {
    const bool same_model = SameModel(policy_.manifest, policy.manifest);
    if (!same_model && !engine_->idle()) {
      return absl::FailedPreconditionError("another architecture cannot go on with the groups that are under way");
    }
    policy_ = policy;
    if (!same_model) return ResetEngine();
    return TorchGuard([&] {
      engine_->SwapWeights(policy_.model, policy_.manifest.policy().number());
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<SampledGroup>> Step() override {
    ASSIGN_OR_RETURN(std::vector<GenerateResult> whole, engine_->Step());
    std::vector<SampledGroup> groups;
    for (GenerateResult& result : whole) {
      const Running group = std::move(running_.extract(result.id).mapped());
      groups.push_back(ToSampledGroup(std::move(result), *group.tokenizer, group.sampling, policy_.manifest));
    }
    return groups;
  }

  bool idle() const override { return engine_->idle(); }
  int64_t num_unfinished() const override { return engine_->num_unfinished(); }
  int64_t num_tokens_generated() const override { return num_tokens_before_ + engine_->num_tokens_generated(); }

 private:
  // What the engine reads of a group while it samples it, and what its text is made with.
  struct Running {
    v1::SamplingParams sampling;
    std::shared_ptr<const Tokenizer> tokenizer;
  };

  explicit EngineGenerator(const GeneratorContext& context)
      : rollout_(context.rollout), clock_(context.clock), policy_(context.policy) {}

  absl::Status ResetEngine() {
    if (engine_.has_value()) num_tokens_before_ += engine_->num_tokens_generated();
    engine_.reset();  // before the new one allocates its cache
    const Engine::Options options = {.num_slots = rollout_.slots,
                                     .max_tokens = rollout_.ContextTokens(policy_.model->config().max_positions)};
    return TorchGuard([&] {
      engine_.emplace(policy_.model, policy_.manifest.policy().number(), options, clock_);
      return absl::OkStatus();
    });
  }

  const RolloutOptions rollout_;
  const Clock& clock_;
  HeldPolicy policy_;
  // By id. The engine refers to their tokenizers.
  std::map<int64_t, Running> running_;
  // For policy_; empty only after an error of SwapWeights.
  std::optional<Engine> engine_;
  // By the engines before this one.
  int64_t num_tokens_before_ = 0;
};

}  // namespace

GeneratorPlugin Generator_engine() {
  return MakeGeneratorPlugin<NoOptions, EngineGenerator>(
      "This project's own sampler, on the same model as the trainer.",
      {.ids = true, .sample_logprob = true, .spans = true, .digest = true});
}

}  // namespace grpo
