// What a policy that is only an address must be, and what is said where it may not stand. Links no torch.
#ifndef GRPO_TRAINER_ENDPOINT_CHECK_H_
#define GRPO_TRAINER_ENDPOINT_CHECK_H_

#include <string>
#include <vector>

#include "model/endpoint_options.h"
#include "trainer/plugin.h"

namespace grpo {

// What is wrong about the keys of policies.<name>.endpoint; none for one that is not given and has no keys. Reads the
// key's file (common/http/secret_file.h) and says nothing of its content.
std::vector<Conflict> EndpointConflicts(const EndpointOptions& endpoint);

// Of a key that names an endpoint policy where weights are needed: what it lacks, and what to do.
std::string NeedsWeights(const std::string& policy);

}  // namespace grpo

#endif  // GRPO_TRAINER_ENDPOINT_CHECK_H_
