#include "tools/grpoctl/local/local_run.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "tools/grpoctl/client/process_state.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kPollInterval = absl::Milliseconds(50);
// How long the others get to end by themselves after the trainer has exited.
constexpr absl::Duration kStopGrace = absl::Seconds(5);
// How long after its bound a trainer is killed that did not end by itself. Together with kStopGrace less than
// LocalRun::kStopSlack.
constexpr absl::Duration kOwnWord = absl::Seconds(5);
// Between two lines about a stop that takes long.
constexpr absl::Duration kRemindEvery = absl::Seconds(10);

absl::StatusOr<std::string> FindProgram(const fs::path& own_folder, const std::string& package,
                                        const std::string& name) {
  for (const fs::path& candidate : {own_folder / name, own_folder.parent_path() / package / name}) {
    std::error_code error;
    if (fs::is_regular_file(candidate, error)) return candidate.string();
  }
  return absl::NotFoundError(absl::StrCat(name, " is neither beside grpoctl nor in ../", package,
                                          ": build it with `bazel build //", package, ":", name, "`"));
}

}  // namespace

absl::StatusOr<Programs> FindPrograms() {
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(absl::StrCat("cannot read /proc/self/exe: ", error.message()));
  Programs programs;
  ASSIGN_OR_RETURN(programs.reward_server, FindProgram(own.parent_path(), "reward", "reward_server"));
  ASSIGN_OR_RETURN(programs.trainer, FindProgram(own.parent_path(), "trainer", "trainer"));
  ASSIGN_OR_RETURN(programs.rollout_worker, FindProgram(own.parent_path(), "rollout", "rollout_worker"));
  return programs;
}

LocalRun::LocalRun(const RunPlan& plan, const Options& options, ProgressPrinter* printer)
    : plan_(plan),
      options_(options),
      printer_(printer),
      supervisor_({.max_restarts_per_role = options.max_restarts_per_role, .lock_fd = options.lock_fd}, Clock::Real(),
                  [printer](const std::string& message) { printer->Note(message); }),
      started_(plan.processes.size(), false) {}

absl::Status LocalRun::StartThoseThatCan() {
  if (StopRequested()) return absl::OkStatus();
  for (size_t i = 0; i < plan_.processes.size(); ++i) {
    const PlannedProcess& process = plan_.processes[i];
    const bool can = std::all_of(process.after.begin(), process.after.end(),
                                 [&](const std::string& name) { return supervisor_.Address(name).has_value(); });
    if (started_[i] || !can) continue;
    started_[i] = true;
    RETURN_IF_ERROR(supervisor_.Start(process));
  }
  return absl::OkStatus();
}

absl::Status LocalRun::FollowStatus(const std::string& trainer_address) {
  followed_ = true;
  ConnectionFlags flags;
  flags.address = trainer_address;
  flags.client = options_.client;
  ASSIGN_OR_RETURN(TrainerConnection connection, TrainerConnection::Open(flags));
  status_ = std::make_unique<BackgroundStatus>(std::move(connection));
  return absl::OkStatus();
}

absl::Status LocalRun::GoOn() {
  RETURN_IF_ERROR(StartThoseThatCan());
  if (followed_) return absl::OkStatus();
  for (const PlannedProcess& process : plan_.processes) {
    const std::optional<std::string> address = supervisor_.Address(process.name);
    if (process.role == Role::kTrainer && address.has_value()) return FollowStatus(*address);
  }
  return absl::OkStatus();
}

void LocalRun::ShowStatus() {
  const std::optional<v1::RunStatus> status = status_ != nullptr ? status_->Take() : std::nullopt;
  const std::optional<int> serving_pid = status_ != nullptr ? supervisor_.TrainerPid(/*serving=*/true) : std::nullopt;
  const std::optional<std::string> silence =
      answers_.Look(Clock::Real().Now(), /*heard=*/status.has_value(), serving_pid);
  if (silence.has_value()) printer_->Note(*silence);
  if (!status.has_value()) return;
  printer_->Show(*status);
  if (!IsTerminal(status->state())) return;
  supervisor_.StopRestarting();
  // Nothing more comes, and the trainer's server waits for open connections before it ends.
  status_.reset();
}

void LocalRun::WaitAndStop() {
  const absl::Duration now = Clock::Real().Now();
  if (!stopped_at_.has_value()) {
    if (!WaitForStop(kPollInterval)) return;
    stopped_at_ = reminded_at_ = now;
    printer_->Note("stopping after the current step, with a checkpoint; once more ends everything at once");
    // A trainer that sees its own bound passed says what it was doing.
    supervisor_.Stop(options_.stop_within + kOwnWord);
    return;
  }
  absl::SleepFor(kPollInterval);
  const std::optional<int> pid = supervisor_.TrainerPid(/*serving=*/false);
  if (now - reminded_at_ < kRemindEvery || !pid.has_value()) return;
  reminded_at_ = now;
  printer_->Note(absl::StrFormat("still stopping: the trainer's process %d %s; %.0f s are left until it is killed",
                                 *pid, DescribeProcess(*pid).value_or("has ended"),
                                 absl::ToDoubleSeconds(*stopped_at_ + options_.stop_within + kOwnWord - now)));
}

void LocalRun::PassQuitsOn() {
  const int64_t num_quits = NumQuitSignals();
  if (std::exchange(num_quits_, num_quits) == num_quits) return;
  supervisor_.SignalAll(SIGQUIT);
  const bool reaches_all = std::all_of(plan_.processes.begin(), plan_.processes.end(),
                                       [](const PlannedProcess& process) { return process.starter.argv.empty(); });
  if (!reaches_all)
    return printer_->Note("SIGQUIT reaches none of the processes that were started on other machines: send it there");
  printer_->Note(absl::StrCat("what every thread waits for is in ", plan_.run_dir, "/logs"));
}

RunEnd LocalRun::Watch() {
  while (true) {
    WaitAndStop();
    PassQuitsOn();
    ShowStatus();
    const std::optional<RunEnd> end = supervisor_.Poll();
    if (end.has_value()) return *end;
    const absl::Status gone_on = GoOn();
    if (!gone_on.ok()) return {ExitCodeFor(gone_on), std::string(gone_on.message())};
  }
}

int LocalRun::Run() {
  const std::string endpoint_path = RunEndpointPath(plan_.run_dir);
  // A trainer that is killed cannot remove it.
  const absl::Cleanup withdraw = [&] { RemoveEndpoint(endpoint_path); };
  const absl::Status started = StartThoseThatCan();
  RunEnd end = started.ok() ? Watch() : RunEnd{ExitCodeFor(started), std::string(started.message())};
  supervisor_.StopAll(kStopGrace);
  ShowStatus();
  status_.reset();
  if (!end.message.empty() && end.exit_code != kExitRetry) printer_->Note(end.message);
  return end.exit_code;
}

}  // namespace grpo
