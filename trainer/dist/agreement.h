// What ranks settle together before and after an update, so that none does what another does not.
#ifndef GRPO_TRAINER_DIST_AGREEMENT_H_
#define GRPO_TRAINER_DIST_AGREEMENT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/ranks.pb.h"
#include "trainer/dist/collectives.h"

namespace grpo {

// The ranks' reports as one: sums of the sums in the order of ranks, the largest difference, rank 0's gradient norm, or
// that of a rank where it is not finite. The same on every rank. Every rank calls it with its own part; Unavailable
// when one is gone, Internal for a report that cannot be read.
absl::StatusOr<v1::UpdateReport> Agree(Collectives& collectives, const v1::UpdateReport& mine);

// Whether nothing in the report is infinite or no number. logprob_abs_diff_max is not looked at. Pure.
bool IsFinite(const v1::UpdateReport& report);

// Internal, on every rank, when the ranks' weights (named by WeightsHash) are not the same. Also Unavailable when a
// rank is gone.
absl::Status ExpectSameWeights(Collectives& collectives, const std::string& weights_hash);

// InvalidArgument, on every rank, when a rank is of another build, was given another configuration than rank 0, or
// computes on another kind of device ("cpu", "cuda"). The first call of all ranks after Connect.
absl::Status ExpectSameConfiguration(Collectives& collectives, const std::string& config_sha256,
                                     const std::string& device = "cpu");

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_AGREEMENT_H_
