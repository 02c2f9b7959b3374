#include "tools/grpoctl_model/bench/synthetic_groups.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/device.h"
#include "model/sequence_logprobs.h"
#include "model/tensor.h"

namespace grpo {
namespace {

// Log-probability of each token of `ids` behind the prompt.
std::vector<float> Logprobs(const Transformer& model, const std::vector<int64_t>& ids, int64_t prompt_tokens) {
  const at::NoGradGuard no_grad;
  const at::Tensor logprobs = HostCopy(SequenceLogprobs(model, ids)).Wait();  // [size - 1]
  const float* const data = logprobs.const_data_ptr<float>();
  return {data + prompt_tokens - 1, data + logprobs.numel()};
}

v1::ScoredCompletion Completion(const BenchOptions& options, const Transformer& model,
                                const std::vector<uint32_t>& prompt, int64_t group, int64_t index) {
  Rng rng(SampleSeed(GroupSeed(options.seed, "bench", group), index));
  std::vector<int64_t> ids(prompt.begin(), prompt.end());
  v1::ScoredCompletion scored;
  v1::Completion& completion = *scored.mutable_completion();
  completion.set_index(static_cast<int32_t>(index));
  completion.set_logprob_kind(v1::LOGPROB_KIND_FULL);
  completion.set_finish_reason(v1::FINISH_REASON_LENGTH);
  for (int64_t t = 0; t < options.new_tokens; ++t) {
    ids.push_back(static_cast<int64_t>(rng.Below(model.config().vocab_size)));
    completion.add_ids(static_cast<uint32_t>(ids.back()));
  }
  for (const float logprob : Logprobs(model, ids, options.prompt_tokens)) completion.add_sample_logprob(logprob);
  v1::Span& span = *completion.add_spans();
  span.set_num_tokens(static_cast<int32_t>(options.new_tokens));
  span.set_source(v1::SPAN_SOURCE_POLICY);
  span.set_trainable(true);
  scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  scored.mutable_score()->set_value(static_cast<double>(index % 2));
  return scored;
}

}  // namespace

absl::StatusOr<std::vector<ScoredGroup>> SyntheticGroups(const BenchOptions& options, const Transformer& model) {
  return TorchGuard([&]() -> absl::StatusOr<std::vector<ScoredGroup>> {
    std::vector<ScoredGroup> groups;
    for (int64_t g = 0; g < options.prompts; ++g) {
      ScoredGroup& group = groups.emplace_back();
      group.prompt_ids = PromptIds(options, model.config().vocab_size, g);
      group.lease.mutable_key()->set_group_index(g);
      group.lease.mutable_sampling()->set_num_completions(static_cast<int32_t>(options.group));
      group.lease.mutable_sampling()->set_max_new_tokens(static_cast<int32_t>(options.new_tokens));
      for (int64_t i = 0; i < options.group; ++i)
        group.completions.push_back(Completion(options, model, group.prompt_ids, g, i));
    }
    return groups;
  });
}

}  // namespace grpo
