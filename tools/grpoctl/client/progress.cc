#include "tools/grpoctl/client/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tools/grpoctl/text.h"
#include "trainer/records/metrics.h"
#include "trainer/stage/stage.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";
constexpr char kYellow[] = "\x1b[33m";
constexpr char kPlainColor[] = "\x1b[0m";
constexpr int kBarWidth = 20;

std::string Bar(double fraction) {
  const int full = std::clamp(static_cast<int>(fraction * kBarWidth), 0, kBarWidth);
  return absl::StrCat("[", std::string(full, '#'), std::string(kBarWidth - full, '-'), "]");
}

bool IsPaused(const v1::RunStatus& status) {
  return status.state() == v1::RUN_STATE_PAUSED;
}

// The part of a line that is not metrics: what is being done, how far it is.
std::string Head(const v1::StageStatus& stage, const ProgressStyle& style) {
  const double fraction = stage.num_steps() > 0 ? static_cast<double>(stage.step()) / stage.num_steps() : 0;
  const std::string bar = style.live ? Bar(fraction) + " " : "";
  return absl::StrFormat("%s  %s%s %d/%d", Printable(stage.name()), bar, StageViewOf(stage.type()).step_unit,
                         stage.step(), stage.num_steps());
}

// `star` is what the metric's * stands for.
std::string Field(const ShownMetric& shown, const std::string& metric, const std::string& star, double value) {
  const std::string label = Printable(absl::StrReplaceAll(shown.label, {{"*", star}}));
  const std::string before = label.empty() ? "" : label + " ";
  const MetricInfo* info = FindMetric(metric);
  switch (info == nullptr ? MetricUnit::kNumber : info->unit) {
    case MetricUnit::kFraction:
      return absl::StrFormat("%s%.1f %%", before, 100 * value);
    case MetricUnit::kBytes:
      return before + FormatBytes(value);
    case MetricUnit::kTokensPerSecond:
      return absl::StrCat(before, FormatCount(std::llround(value)), " tok/s");
    default:
      return absl::StrFormat("%s%.3g", before, value);
  }
}

std::string TimeField(const v1::RunStatus& status, const v1::StageStatus& stage) {
  if (stage.state() == v1::STAGE_STATE_DONE) return "took " + FormatClock(stage.seconds());
  if (!status.has_stage_remaining_seconds()) return FormatClock(stage.seconds());
  return FormatClock(status.stage_remaining_seconds()) + " left";
}

}  // namespace

ProgressStyle StyleFor(int fd) {
  ProgressStyle style;
  style.live = ::isatty(fd) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  style.color = style.live && (no_color == nullptr || *no_color == '\0');
  winsize size = {};
  if (style.live && ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.width = size.ws_col;
  return style;
}

std::vector<std::string> MetricFields(const v1::StageStatus& stage) {
  std::vector<std::string> fields;
  // The message's map changes its order from snapshot to snapshot; the line's must not change.
  const std::map<std::string, double> metrics(stage.metrics().begin(), stage.metrics().end());
  for (const ShownMetric& shown : StageViewOf(stage.type()).progress) {
    if (!shown.unless.empty() && metrics.count(shown.unless) > 0) continue;
    for (const auto& [metric, value] : metrics) {
      const std::optional<std::string> star = MatchMetric(shown.metric, metric);
      if (star) fields.push_back(Field(shown, metric, *star, value));
    }
  }
  return fields;
}

std::string StageLine(const v1::RunStatus& status, int stage_index, const ProgressStyle& style) {
  const v1::StageStatus& stage = status.stages(stage_index);
  std::string line = Head(stage, style);
  if (IsPaused(status)) {
    absl::StrAppend(&line, "  paused: ", Printable(status.state_reason()));
    return style.live ? Truncated(line, style.width - 1) : line;
  }
  const std::string time = TimeField(status, stage);
  for (const std::string& field : MetricFields(stage)) {
    // The last column stays free: a terminal that wraps there would leave the line behind.
    const size_t needed = line.size() + 2 + field.size() + 2 + time.size() + 1;
    if (style.live && needed > static_cast<size_t>(style.width)) break;
    absl::StrAppend(&line, "  ", field);
  }
  absl::StrAppend(&line, "  ", time);
  return style.live ? Truncated(line, style.width - 1) : line;
}

ProgressPrinter::~ProgressPrinter() {
  if (!live_line_.empty()) out_ << "\n" << std::flush;
}

void ProgressPrinter::Line(const std::string& text) {
  if (style_.live) out_ << kClearLine;
  out_ << text << "\n" << live_line_ << std::flush;
}

void ProgressPrinter::Note(const std::string& message) {
  Line(message);
}

void ProgressPrinter::ShowStateChange(const v1::RunStatus& status) {
  const bool changed = status.state() != state_ || status.state_reason() != state_reason_;
  const bool first = state_ == v1::RUN_STATE_UNSPECIFIED;
  state_ = status.state();
  state_reason_ = status.state_reason();
  // A run that starts in the usual way needs no announcement.
  if (!changed || (first && state_reason_.empty())) return;
  const std::string reason = state_reason_.empty() ? "" : ": " + Printable(state_reason_);
  const bool alarming =
      state_ == v1::RUN_STATE_PAUSED || state_ == v1::RUN_STATE_STALLED || state_ == v1::RUN_STATE_FAILED;
  const bool color = style_.color && alarming;
  Line(absl::StrCat(color ? kYellow : "", "run is ", StateName(state_), reason, color ? kPlainColor : ""));
}

void ProgressPrinter::ShowSaveError(const v1::RunStatus& status) {
  const std::string& error = status.last_checkpoint().error();
  if (error == save_error_) return;
  save_error_ = error;
  const std::string text = error.empty() ? absl::StrCat("saving works again: ", status.last_checkpoint().path())
                                         : absl::StrCat("SAVING FAILED, the checkpoint before stays: ", error);
  const bool color = style_.color && !error.empty();
  Line(absl::StrCat(color ? kYellow : "", Printable(text), color ? kPlainColor : ""));
}

void ProgressPrinter::Show(const v1::RunStatus& status) {
  for (; num_done_ < status.stages_size() && status.stages(num_done_).state() == v1::STAGE_STATE_DONE; ++num_done_) {
    live_line_.clear();
    Line(StageLine(status, num_done_, style_));
  }
  ShowSaveError(status);
  ShowStateChange(status);
  if (num_done_ >= status.stages_size() || status.stages(num_done_).state() != v1::STAGE_STATE_RUNNING) return;
  if (style_.live) {
    live_line_ = StageLine(status, num_done_, style_);
    out_ << kClearLine << live_line_ << std::flush;
    return;
  }
  const absl::Duration now = clock_.Now();
  if (running_stage_ == num_done_ && now - last_plain_ < style_.plain_interval) return;
  running_stage_ = num_done_;
  last_plain_ = now;
  Line(StageLine(status, num_done_, style_));
}

}  // namespace grpo
