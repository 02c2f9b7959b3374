// Stored top-k: who writes it, and what is there of it (trainer/preflight.h).
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "trainer/preflight.h"
#include "trainer/stage/stored_top_k.h"

namespace grpo {

absl::Status Preflight::CheckTopKAhead(const RunFiles& files, const DataUse& use, int64_t stage_index,
                                       int64_t first_stage) {
  if (use.stored_top_k == 0) return absl::OkStatus();
  const std::string& artifact = config_.data.at(use.data).artifact;
  const std::string need = absl::StrCat(use.reader, " asks for the ", use.stored_top_k,
                                        " likeliest tokens of a teacher, stored beside data.", use.data);
  std::optional<TopKOutput> output;
  int64_t writer = stage_index - 1;
  for (; writer >= 0 && !artifact.empty(); --writer) {
    output = config_.stages[writer].stage->top_k_output();
    if (output.has_value() && output->artifact == artifact) break;
    output.reset();
  }
  if (!output.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        need, ", which is no artifact that a synthesize stage before it writes: name such an entry, and no mix"));
  }
  const std::string& name = config_.stages[writer].name;
  if (output->k < use.stored_top_k) {
    return absl::InvalidArgumentError(absl::StrCat(need, ", and ", output->key, " of stage ", name, " is ", output->k,
                                                   ": set it to ", use.stored_top_k, " or more"));
  }
  ASSIGN_OR_RETURN(const PolicyShape* const learner, Shape(use.policy));
  ASSIGN_OR_RETURN(const PolicyShape* const teacher, Shape(output->policy));
  if (VocabularyDigest(*learner->tokenizer) != VocabularyDigest(*teacher->tokenizer)) {
    return absl::InvalidArgumentError(absl::StrCat(
        need, ", and policies.", output->policy, ", whose they are, has not the tokens of policies.", use.policy,
        ": train a policy with the same tokenizer, or learn from the traces' text (algorithm sft)"));
  }
  return writer < first_stage ? CheckTopKFiles(files, use) : absl::OkStatus();
}

absl::Status Preflight::CheckTopKFiles(const RunFiles& files, const DataUse& use) {
  if (use.stored_top_k == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<StoredTopK> stored, files.OpenStoredTopK(use.data));
  ASSIGN_OR_RETURN(const PolicyShape* const shape, Shape(use.policy));
  return stored->CheckFits(use.data, use.stored_top_k, *shape->tokenizer, shape->config.vocab_size);
}

absl::Status Preflight::CheckTopKOutput(const ConfiguredStage& stage) {
  const std::optional<TopKOutput> output = stage.stage->top_k_output();
  if (!output.has_value() || output->k == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PolicyShape* const shape, Shape(output->policy));
  if (output->k <= shape->config.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(output->key, " is ", output->k, ", and policies.", output->policy,
                                                 " has ", shape->config.vocab_size, " tokens: lower it"));
}

}  // namespace grpo
