// What samples with weights behind a rollout worker: our Engine, or a client of another server that holds them. One .cc
// in generators/ and one line in generators.inc each (generator_plugin.h says how); tests/contract/generators_test.cc
// holds all of them to what stands here and in group_sampler.h.
//
//   worker --Add(prompt)--> Generator --Step: whole groups--> worker
//              Cancel ------^    ^------ SwapWeights, between steps
#ifndef GRPO_ROLLOUT_GENERATOR_H_
#define GRPO_ROLLOUT_GENERATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "configs/visit.h"
#include "proto/types.pb.h"
#include "rollout/group_sampler.h"
#include "rollout/held_policy.h"
#include "rollout/options.h"

namespace grpo {

// What completions carry beside index, text and finish reason. Which of it a lease needs is said in
// coordinator/submission.h.
struct Carries {
  // Completion.ids, and SampledGroup.prompt_ids.
  bool ids = false;
  // LOGPROB_KIND_FULL, or LOGPROB_KIND_RENORMALIZED where top_p cuts the distribution.
  bool sample_logprob = false;
  // Which version of the weights sampled which tokens.
  bool spans = false;
  // SampledGroup.policy_digest.
  bool digest = false;
};

// Samples with a policy's weights. What a group gets depends on prompt, seed, sampling parameters, weights and number of
// slots: neither on its neighbours nor on the order of Add (docs/design.md law 5).
class Generator : public GroupSampler {
 public:
  // Samples with these weights from the next step on. Groups under way go on with them, and their spans record where
  // the version changed. FailedPrecondition, and nothing has changed, for another architecture while groups are under
  // way. After any other error: use a new generator.
  virtual absl::Status SwapWeights(const HeldPolicy& policy) = 0;
};

// What a generator is made for. What it refers to must outlive the call, and the clock the generator. `rollout` is
// copied by who needs it later.
struct GeneratorContext {
  // What it samples with until SwapWeights.
  const HeldPolicy& policy;
  // slots: completions at the same time; context_tokens: prompt plus completion.
  const RolloutOptions& rollout;
  const Clock& clock = Clock::Real();
};

// What is said of a generator without making one.
struct GeneratorInfo {
  // As in generators.inc, and one sentence.
  std::string name = {}, summary = {};
  Carries carries = {};
  // Keys of the generator's own options (configs/load.h ReferenceTable).
  std::string reference_table = {};
};

// In the order of generators.inc. Lives for ever; any thread.
const std::vector<GeneratorInfo>& ListGenerators();

// InvalidArgument for an unknown name (the nearest is named), for options that the generator does not know or cannot
// use, and for a policy that it cannot run; Internal when memory is short. `options` may be empty: every default.
absl::StatusOr<std::unique_ptr<Generator>> MakeGenerator(const std::string& name, const Section& options,
                                                         const GeneratorContext& context);

// What a worker samples with: the first of generators.inc (in a test's binary with toys, its last toy), with default
// options. Errors as MakeGenerator.
absl::StatusOr<std::unique_ptr<Generator>> MakeDefaultGenerator(const GeneratorContext& context);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_GENERATOR_H_
