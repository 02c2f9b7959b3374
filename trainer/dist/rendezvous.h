// How ranks find each other: a c10d store where each leaves its address, and what it is doing.
#ifndef GRPO_TRAINER_DIST_RENDEZVOUS_H_
#define GRPO_TRAINER_DIST_RENDEZVOUS_H_

#include <c10/util/intrusive_ptr.h>

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainer/dist/rank_environment.h"

namespace grpo {

// The store of these ranks (more than one); rank 0 serves it unless torchrun does. Ranks may come in any order: one that
// is early waits for the name of rank 0's machine to be known, for rank 0 to listen there, and for the others, and says
// so in its log every minute. Returns when every rank has arrived; Unavailable, naming what is missing, after
// `timeout`, and Aborted when the process is told to stop. c10d has no authentication, so its ports must be private:
// rank 0 binds to the address that MASTER_ADDR names and to no other, and an address off loopback is refused unless
// `private_interface` is not empty (docs/design.md law 9). InvalidArgument then. Keys of an earlier start by the same
// torchrun are not seen. Turns c10d's own warnings off, for the process.
absl::StatusOr<c10::intrusive_ptr<c10d::Store>> OpenStore(const RankEnvironment& environment,
                                                          const std::string& private_interface, absl::Duration timeout);

// OK when this numeric address or host name is loopback, or an interface was declared private. InvalidArgument
// otherwise; Unavailable for a name that cannot be resolved. Every address of the name counts.
absl::Status CheckPrivate(const std::string& host, const std::string& private_interface);

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_RENDEZVOUS_H_
