// The armed failpoints, for test binaries: linking this replaces the definition that does nothing.
//
// GRPO_FAILPOINTS holds what fails, `name[(text)]=action@hit` separated by `;`: the hit-th time (from 1) that this
// process passes `name` (`files.*` for every name that begins so) in a state whose detail holds `text`, it does
// `action`:
//
//   kill         SIGKILL to itself                      stop             SIGSTOP to itself
//   kill_all     SIGKILL to its parent, then to itself  hang             this thread never goes on
//                (a `grpoctl run` takes its children    delay:MS         this thread goes on MS milliseconds later
//                with it)                               error:EIO        the next system call seems to fail;
//   exit         leaves at once with exit code 70       error:ENOSPC     Failpoint() returns it as a status
//
// Before it acts it creates GRPO_FAILPOINT_DIR/<name>.<position in the list> with pid, name, detail and hit, a line
// each. Where that file is already, nothing happens: a process that is started again does not fail again, and a test
// sees whether the fault was there, and in which state. A list that cannot be read aborts the process at its start.
#ifndef GRPO_COMMON_FAILPOINT_ON_H_
#define GRPO_COMMON_FAILPOINT_ON_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace grpo {

// A list of failpoints and how often each was passed. Thread-safe.
class Failpoints {
 public:
  // InvalidArgument says what of the list cannot be read, or that `folder` is missing while the list is not empty. An
  // empty list is fine without a folder.
  static absl::StatusOr<std::unique_ptr<Failpoints>> Parse(absl::string_view list, const std::string& folder);

  // What FailpointErrno does. Counts this pass for every point that it fits; several that are due at once act in the
  // list's order, and the errno is that of the last.
  int Pass(absl::string_view name, absl::string_view detail);

 private:
  // What happens at a point: this file's top says how each is written.
  enum class Action { kKill, kKillAll, kStop, kExit, kHang, kDelay, kError };
  struct Point {
    // `name` may end in *. An empty detail_part is in every detail.
    std::string name, detail_part;
    Action action = Action::kKill;
    // Errno or milliseconds.
    int argument = 0;
    // From 1: the pass at which it acts.
    int64_t hit = 0;
    // Of this process, since the list was armed.
    int64_t num_passed = 0;
    // The file that says that it acted, and keeps it from acting again.
    std::string marker_path;
  };
  explicit Failpoints(std::vector<Point> points) : points_(std::move(points)) {}
  // InvalidArgument quotes the text and says what it lacks. marker_path stays empty.
  static absl::StatusOr<Point> ParsePoint(absl::string_view text);
  // Those act under the lock.
  static bool EndsProcess(Action action);
  // Returns the errno of kError, otherwise 0.
  static int Act(const Point& point);

  absl::Mutex mutex_;
  // In the list's order; num_passed and nothing else of them changes.
  std::vector<Point> points_ ABSL_GUARDED_BY(mutex_);
};

// Replaces the process's list, whose counts begin anew. Aborts when it cannot be read. The old list is kept in memory,
// since another thread may be passing it.
void ArmFailpoints(absl::string_view list, const std::string& folder);

}  // namespace grpo

#endif  // GRPO_COMMON_FAILPOINT_ON_H_
