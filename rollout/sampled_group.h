// From what the engine sampled to what a generator hands on.
#ifndef GRPO_ROLLOUT_SAMPLED_GROUP_H_
#define GRPO_ROLLOUT_SAMPLED_GROUP_H_

#include <utility>

#include "rollout/completion_text.h"
#include "rollout/engine.h"
#include "rollout/generator.h"

namespace grpo {

// With each completion's text, by the tokenizer and the sampling parameters of its request.
inline SampledGroup ToSampledGroup(GenerateResult result, const Tokenizer& tokenizer,
                                   const v1::SamplingParams& sampling, const v1::WeightsManifest& policy) {
  for (v1::Completion& completion : result.completions) {
    completion.set_text(CompletionText(tokenizer, completion, sampling));
  }
  return {.id = result.id,
          .prompt_ids = std::move(result.prompt_ids),
          .policy_digest = policy.digest(),
          .completions = std::move(result.completions),
          .generate_seconds = result.generate_seconds};
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SAMPLED_GROUP_H_
