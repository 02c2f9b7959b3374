// SIGTERM and SIGINT as a flag that loops can wait for.
#ifndef GRPO_COMMON_STOP_SIGNAL_H_
#define GRPO_COMMON_STOP_SIGNAL_H_

#include "absl/time/time.h"

namespace grpo {

// Installs the handlers: the first signal sets the flag, the second ends the process at once with 128+n. Also asks the
// kernel to kill this process when its parent dies, if `die_with_parent`. Call once, early in main.
void InstallStopSignal(bool die_with_parent);

// Thread-safe.
bool StopRequested();

// Sleeps at most `timeout`; true as soon as a stop was requested.
bool WaitForStop(absl::Duration timeout);

}  // namespace grpo

#endif  // GRPO_COMMON_STOP_SIGNAL_H_
