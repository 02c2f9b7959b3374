// Sums of what endpoints' answers cost.
#ifndef GRPO_COORDINATOR_ENDPOINT_USAGE_H_
#define GRPO_COORDINATOR_ENDPOINT_USAGE_H_

#include "proto/types.pb.h"

namespace grpo {

// Adds every count.
inline void AddUsage(const v1::EndpointUsage& more, v1::EndpointUsage* sum) {
  sum->set_num_requests(sum->num_requests() + more.num_requests());
  sum->set_input_tokens(sum->input_tokens() + more.input_tokens());
  sum->set_output_tokens(sum->output_tokens() + more.output_tokens());
  sum->set_usd(sum->usd() + more.usd());
}

}  // namespace grpo

#endif  // GRPO_COORDINATOR_ENDPOINT_USAGE_H_
