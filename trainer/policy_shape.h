// What is known of a policy before it is made: its shape and its tokenizer, from the files that its configuration
// names. Links no torch.
#ifndef GRPO_TRAINER_POLICY_SHAPE_H_
#define GRPO_TRAINER_POLICY_SHAPE_H_

#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/tokenizer/tokenizer.h"
#include "trainer/run_config.h"

namespace grpo {

struct PolicyShape {
  // The policy at the beginning of the chain of initialize_from: those with the same one have the same tokenizer.
  std::string origin;
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// The policy at the beginning of the chain of initialize_from that ends at `policy`. InvalidArgument for a chain that
// has no beginning.
absl::StatusOr<std::string> PolicyOrigin(const RunConfig& config, const std::string& policy);

// Of the policy and of all that have its origin. NotFound or InvalidArgument when the files do not hold one, and for a
// vocabulary that is larger than the embedding.
absl::StatusOr<PolicyShape> ReadPolicyShape(const RunConfig& config, const std::string& policy);

// Whether the weights that the policy begins with are there and are of a model of this shape, as far as the files'
// headers say. OK for random ones, and where the policy or one that it is initialised from is among `made`, which need
// no files any more. Errors of OpenWeightFiles and CheckWeightsSize.
absl::Status CheckPolicyWeights(const RunConfig& config, const std::string& policy, const ModelConfig& shape,
                                const std::set<std::string>& made);

}  // namespace grpo

#endif  // GRPO_TRAINER_POLICY_SHAPE_H_
