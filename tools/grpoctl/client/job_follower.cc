#include "tools/grpoctl/client/job_follower.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/records/run_folder.h"
#include "tools/grpoctl/text.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(200);

}  // namespace

void JobFollower::FindTrainer() {
  const absl::StatusOr<Endpoint> endpoint = FindEndpoint(run_dir_);
  if (!endpoint.ok() || (endpoint->address == followed_.address && endpoint->pid == followed_.pid)) return;
  ConnectionFlags flags;
  flags.run_dir = run_dir_;
  flags.client = options_.client;
  absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (!connection.ok()) return;
  followed_ = *endpoint;
  status_ = std::make_unique<BackgroundStatus>(*std::move(connection));
}

std::optional<v1::RunState> JobFollower::ShowRun() {
  FindTrainer();
  const std::optional<v1::RunStatus> status = status_ != nullptr ? status_->Take() : std::nullopt;
  if (!status.has_value()) return std::nullopt;
  printer_->Show(*status);
  if (!IsTerminal(status->state())) return std::nullopt;
  status_.reset();
  return status->state();
}

bool JobFollower::JobHasEnded() {
  const absl::StatusOr<JobState> state = target_.State(job_);
  const std::string words =
      state.ok() ? absl::StrCat("job ", job_, " is ", Printable(state->word),
                                state->reason.empty() ? "" : absl::StrCat(" (", Printable(state->reason), ")"))
                 : std::string(state.status().message());
  if (std::exchange(shown_state_, words) != words) printer_->Note(words);
  return state.ok() ? state->ended : absl::IsNotFound(state.status());
}

int JobFollower::Follow() {
  std::optional<v1::RunState> last;
  absl::Duration ask_at = -absl::InfiniteDuration();
  while (true) {
    if (const std::optional<v1::RunState> ended = ShowRun(); ended.has_value()) last = ended;
    // A stop may be followed by another start of the job.
    if (last.has_value() && *last != v1::RUN_STATE_STOPPED) return ExitCodeOf(*last);
    if (Clock::Real().Now() >= ask_at) {
      if (JobHasEnded()) return last.has_value() ? ExitCodeOf(*last) : kExitRunFailed;
      ask_at = Clock::Real().Now() + options_.ask_every;
    }
    absl::SleepFor(kPollInterval);
  }
}

}  // namespace grpo
