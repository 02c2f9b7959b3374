#include "tools/grpoctl_model/bench/bench_policy.h"

#include "common/status_macros.h"
#include "model/weights/live_weights.h"

namespace grpo {

absl::StatusOr<Policy*> AddBenchPolicy(const BenchOptions& options, PolicyStore* policies) {
  ASSIGN_OR_RETURN(const LoadedModel loaded, LoadBenchModel(options, /*storage=*/at::kFloat));
  v1::PolicyRef ref;
  ref.set_policy_id(kBenchPolicy);
  ASSIGN_OR_RETURN(const auto weights, LiveWeights::Of(*loaded.model, loaded.tokenizer_json, ref, loaded.companions));
  RETURN_IF_ERROR(policies->Restore(*weights));
  return policies->Get(kBenchPolicy);
}

}  // namespace grpo
