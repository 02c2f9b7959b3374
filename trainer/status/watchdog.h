// Watches the ranks from beside the training thread, and puts what it sees on the status board.
#ifndef GRPO_TRAINER_STATUS_WATCHDOG_H_
#define GRPO_TRAINER_STATUS_WATCHDOG_H_

#include <thread>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "trainer/dist/collectives.h"
#include "trainer/status/stall_detector.h"
#include "trainer/status/status_board.h"

namespace grpo {

// Has a thread of its own from construction to destruction. What it is given outlives it. It looks every half a second,
// by the machine's own clock.
class Watchdog {
 public:
  // Rank 0's. `stall_after` is StallDetector's.
  Watchdog(Collectives* collectives, StatusBoard* board, absl::Duration stall_after);
  ~Watchdog();

 private:
  // The thread: Look, then a pause, until stop_.
  void Loop();
  // One look: what the ranks say goes to the board, and a stall's beginning and end into the log.
  void Look();

  Collectives* const collectives_;
  StatusBoard* const board_;
  StallDetector detector_;
  Notification stop_;
  std::thread thread_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_WATCHDOG_H_
