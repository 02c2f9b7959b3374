// What a process of ours does about signals. The table; "stop" is a flag that loops can wait for:
//
//   SIGTERM, SIGINT   stop; once more ends the process at once, with 128+n
//   SIGHUP            stop, unless it was ignored when the process started (nohup); any number of them count as one,
//                     since a terminal that closes sends several. Or what the process itself makes of it
//                     (StopOptions::hang_up_stops)
//   SIGQUIT           what every thread waits for goes into the log, and the process goes on
//   SIGPIPE, SIGXFSZ  nothing: the write is an error, which names its file
//   SIGBUS            ends the process, naming the file whose page could not be read or written (mapped_file.h)
//
// A process that was told to stop and does not end within a bound says what its threads wait for, and ends all the
// same: with 75 (exit_codes.h), since starting it again goes on.
#ifndef GRPO_COMMON_STOP_SIGNAL_H_
#define GRPO_COMMON_STOP_SIGNAL_H_

#include <cstdint>

#include "absl/time/time.h"

namespace grpo {

// How long a process has for its end that did not call SetStopBound. More than the 4 s that a reward server gives the
// calls in flight, and a worker its last one.
inline constexpr absl::Duration kDefaultStopBound = absl::Seconds(30);

// Plain data.
struct StopOptions {
  // Asks the kernel to kill this process when its parent dies. A parent that died before the call is not noticed.
  bool die_with_parent = false;
  // False: SIGHUP is left as it was.
  bool hang_up_stops = true;
};

// Installs what the table says, and starts the thread that writes and counts. Call once, early in main, after
// InitLogging.
void InstallStopSignal(const StopOptions& options = {});

// The rows of SIGXFSZ and SIGBUS alone: for verbs that a signal is to end at once. InstallStopSignal does it, too.
void InstallFileSignals();

// Within which the process has to end once it was told to stop, whenever that was or will be. Above 0. Thread-safe.
void SetStopBound(absl::Duration bound);

// Thread-safe. True from the first stop on, for good.
bool StopRequested();

// Sleeps at most `timeout`; true as soon as a stop was requested. Any other signal may end the sleep early.
// Thread-safe: every waiter wakes. `timeout` is counted in whole milliseconds.
bool WaitForStop(absl::Duration timeout);

// How many SIGQUITs there have been: for who passes them on. Thread-safe.
int64_t NumQuitSignals();

}  // namespace grpo

#endif  // GRPO_COMMON_STOP_SIGNAL_H_
