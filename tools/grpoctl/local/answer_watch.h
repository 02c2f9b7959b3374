// Whether the trainer answers, from how long its status was not heard.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_ANSWER_WATCH_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_ANSWER_WATCH_H_

#include <optional>
#include <string>

#include "absl/time/time.h"

namespace grpo {

// A trainer sends its status a few times a second even where nothing moves (trainer/status/service.cc), so silence
// means that the process does not run, or not enough. One thread.
class AnswerWatch {
 public:
  static constexpr absl::Duration kSilence = absl::Seconds(10);

  // Call it a few times a second. `heard`: a status came since the last call; `serving_pid`: of the trainer, nothing
  // while none serves. Holds a line when there is something to tell: at the beginning and at the end of a silence.
  // `now` does not go back.
  std::optional<std::string> Look(absl::Duration now, bool heard, std::optional<int> serving_pid);

 private:
  std::optional<int> pid_;
  // When it was heard last, or began to serve.
  absl::Duration since_;
  // Told of.
  bool silent_ = false;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_ANSWER_WATCH_H_
