// SIGTERM and SIGINT as a flag that loops can wait for.
#ifndef GRPO_COMMON_STOP_SIGNAL_H_
#define GRPO_COMMON_STOP_SIGNAL_H_

#include "absl/time/time.h"

namespace grpo {

// Installs the handlers: the first signal sets the flag, the second ends the process at once with 128+n. Also asks the
// kernel to kill this process when its parent dies, if `die_with_parent`. Call once, early in main. SIGPIPE is ignored
// from then on: writing to a closed pipe is an error and no end. A parent that died before the call is not noticed.
void InstallStopSignal(bool die_with_parent);

// Thread-safe. True from the first signal on, for good.
bool StopRequested();

// Sleeps at most `timeout`; true as soon as a stop was requested. Any other signal may end the sleep early.
// Thread-safe: every waiter wakes. `timeout` is counted in whole milliseconds.
bool WaitForStop(absl::Duration timeout);

}  // namespace grpo

#endif  // GRPO_COMMON_STOP_SIGNAL_H_
