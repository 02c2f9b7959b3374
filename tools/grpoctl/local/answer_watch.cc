#include "tools/grpoctl/local/answer_watch.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "tools/grpoctl/client/process_state.h"

namespace grpo {

std::optional<std::string> AnswerWatch::Look(absl::Duration now, bool heard, std::optional<int> serving_pid) {
  if (heard || serving_pid != pid_) {
    const bool was_silent = std::exchange(silent_, false);
    const absl::Duration silence = now - std::exchange(since_, now);
    pid_ = serving_pid;
    if (!heard || !was_silent) return std::nullopt;
    return absl::StrFormat("the trainer answers again, after %.0f s", absl::ToDoubleSeconds(silence));
  }
  if (silent_ || !pid_.has_value() || now - since_ < kSilence) return std::nullopt;
  silent_ = true;
  return absl::StrFormat("the trainer has not answered for %.0f s: its process %d %s",
                         absl::ToDoubleSeconds(now - since_), *pid_, DescribeProcess(*pid_).value_or("has ended"));
}

}  // namespace grpo
