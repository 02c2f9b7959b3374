// A port for processes that have to be told where to meet before one of them listens.
#ifndef GRPO_COMMON_FREE_PORT_H_
#define GRPO_COMMON_FREE_PORT_H_

#include "absl/status/statusor.h"

namespace grpo {

// A TCP port of 127.0.0.1 that nobody listens at now. Nothing keeps it free: whoever listens there must be able to fail
// and be given another. Errno's status when no socket can be made or bound. Thread-safe; two calls may return the same
// port.
absl::StatusOr<int> FreePort();

}  // namespace grpo

#endif  // GRPO_COMMON_FREE_PORT_H_
