// A run's progress as text: a live line per stage on a terminal, plain lines elsewhere.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_PROGRESS_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_PROGRESS_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/trainer.pb.h"

namespace grpo {

// How progress is written.
struct ProgressStyle {
  // Rewrite one line in place instead of adding lines.
  bool live = false;
  // Escape sequences for colour (only when live).
  bool color = false;
  // Columns of the terminal.
  int width = 80;
  // Plain: time between two lines of a running stage.
  absl::Duration plain_interval = absl::Seconds(10);
};

// How to write to this file descriptor: live when it is a terminal, coloured unless NO_COLOR is set. 80 columns where
// the terminal does not say.
ProgressStyle StyleFor(int fd);

// "reward 1.02", one column per reward rule ("math_answer 0.937"), "length 30.2", "1,234 tok/s" and so on: what the
// stage has of the metrics that its type shows (StageView.progress), most important first. Pure.
std::vector<std::string> MetricFields(const v1::StageStatus& stage);

// One line for a stage: bar (live only), step, fields, time left or taken; as many fields as fit. While the run is
// paused the reason stands in place of the fields. stage_index is one of status.stages. Without a live line nothing is
// cut. Pure.
std::string StageLine(const v1::RunStatus& status, int stage_index, const ProgressStyle& style);

// Writes what changed between snapshots. One thread. What comes from the run is made printable.
class ProgressPrinter {
 public:
  // `out` and `clock` outlive it.
  ProgressPrinter(std::ostream& out, const ProgressStyle& style, const Clock& clock)
      : out_(out), style_(style), clock_(clock) {}
  // Leaves the cursor on a line of its own.
  ~ProgressPrinter();

  // Stages that ended since the last call, a change of the run's state, an error of saving or its end, and the running
  // stage. Snapshots come in order.
  void Show(const v1::RunStatus& status);
  // A line of other talk, above the live line.
  void Note(const std::string& message);

 private:
  // Writes a line and the live line below it again.
  void Line(const std::string& text);
  // A line when the state or its reason is another than before; none for a run that begins without a reason.
  void ShowStateChange(const v1::RunStatus& status);
  // A line when saving begins to fail, fails otherwise, or works again.
  void ShowSaveError(const v1::RunStatus& status);

  std::ostream& out_;
  const ProgressStyle style_;
  const Clock& clock_;
  // Stages that were shown as done: they end in order.
  int num_done_ = 0;
  // Which stage last_plain_ is of.
  int running_stage_ = -1;
  // When the running stage had its last plain line.
  absl::Duration last_plain_;
  // What was said last of the run's state and of saving.
  v1::RunState state_ = v1::RUN_STATE_UNSPECIFIED;
  std::string state_reason_;
  std::string save_error_;
  // What stands in the terminal's last line now.
  std::string live_line_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_PROGRESS_H_
