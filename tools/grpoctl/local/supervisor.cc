#include "tools/grpoctl/local/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/exit_codes.h"
#include "common/free_port.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"
#include "tools/grpoctl/records/log_tail.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

// Of each log line that is shown; gRPC's own run to thousands.
constexpr int kMaxLogLineBytes = 300;

bool IsRank(const PlannedProcess& process) {
  return process.role == Role::kTrainer || process.role == Role::kTrainerRank;
}

// The port of "127.0.0.1:41327"; `otherwise` of an empty address.
int64_t PortOf(const std::string& address, int64_t otherwise) {
  int64_t port = 0;
  return absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port) ? port : otherwise;
}

}  // namespace

std::string DescribeExit(int exit_code) {
  if (exit_code <= kExitSignalBase || exit_code > kExitSignalBase + SIGRTMAX)
    return absl::StrCat("exit code ", exit_code);
  const int signal_number = exit_code - kExitSignalBase;
  return absl::StrCat("signal ", signal_number, " (", ::strsignal(signal_number), ")");
}

absl::Status Supervisor::Start(const PlannedProcess& process) {
  children_.push_back(std::make_unique<Child>());
  children_.back()->plan = process;
  return StartAttempt(*children_.back());
}

absl::Status Supervisor::StartAttempt(Child& child) {
  ++child.attempt;
  child.serves = false;
  child.started_at = clock_.Now();
  // What an earlier process wrote would pass for this one's.
  if (!child.plan.endpoint_path.empty()) RemoveEndpoint(child.plan.endpoint_path);
  LateValues late;
  late.attempt = child.attempt;
  late.port = PortOf(child.address, child.plan.port);
  if (child.plan.role == Role::kTrainer) late.lock_fd = options_.lock_fd;
  for (const std::unique_ptr<Child>& other : children_) {
    // Also of a trainer that is being restarted: it comes back there.
    if (other->plan.role == Role::kTrainer) late.trainer_address = other->address;
  }
  if (IsRank(child.plan)) late.rendezvous_port = RendezvousPort(child.attempt);
  std::vector<std::string> argv = child.plan.starter.argv;
  for (std::string& word : Fill(child.plan.argv, late)) argv.push_back(std::move(word));
  ASSIGN_OR_RETURN(child.process, Process::Start(argv, child.plan.log_path, Fill(child.plan.environment, late),
                                                 late.lock_fd, {.signal_number = child.plan.starter.kill_signal}));
  return absl::OkStatus();
}

int Supervisor::RendezvousPort(int attempt) {
  // All ranks of one start meet at one port. Should somebody else take it in between, rank 0 says so, and the next
  // start finds another.
  if (attempt != rendezvous_attempt_) rendezvous_port_ = FreePort().value_or(0);
  rendezvous_attempt_ = attempt;
  return rendezvous_port_;
}

void Supervisor::NoticeEndpoint(Child& child) {
  if (child.serves || child.plan.endpoint_path.empty()) return;
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(child.plan.endpoint_path);
  if (!endpoint.ok()) return;
  child.address = endpoint->address;
  child.served_pid = static_cast<int>(endpoint->pid);
  child.serves = true;
}

std::optional<RunEnd> Supervisor::Poll() {
  if (std::optional<RunEnd> end = EndOfStop(); end.has_value()) return end;
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->process == nullptr) {
      if (!restarting_ || child->done || clock_.Now() < child->restart_at) continue;
      note_(absl::StrFormat("starting %s again (restart %d of %d)", child->plan.name,
                            restarts_by_role_[std::string(RoleName(child->plan.role))],
                            options_.max_restarts_per_role));
      const absl::Status started = StartAttempt(*child);
      if (!started.ok()) return End(*child, ExitCodeFor(started), std::string(started.message()));
    }
    NoticeEndpoint(*child);
    const std::optional<int> exit_code = child->process->Poll();
    if (!exit_code.has_value()) continue;
    std::optional<RunEnd> end = OnExit(*child, *exit_code);
    if (end.has_value()) return end;
  }
  return std::nullopt;
}

Phase Supervisor::PhaseOf(const Child& child) const {
  if (!restarting_) return Phase::kEnding;
  const bool never_served = child.attempt == 1 && !child.plan.endpoint_path.empty() && !child.serves;
  return never_served ? Phase::kStarting : Phase::kRunning;
}

std::optional<RunEnd> Supervisor::OnExit(Child& child, int exit_code) {
  const Role role = child.plan.role;
  const Exit exit = ClassifyExit(exit_code, HasPeers(child));
  const Reaction reaction = ReactionTo(PhaseOf(child), exit, role);
  const std::string ended = absl::StrCat(child.plan.name, " ended with ", DescribeExit(exit_code));
  child.failed_starts = exit == Exit::kNotStarted ? child.failed_starts + 1 : 0;
  child.process.reset();
  child.serves = false;
  child.done = reaction == Reaction::kNothing;
  if (child.done) return std::nullopt;
  if (reaction == Reaction::kEndRun) return EndBy(child, exit, exit_code, ended);
  if (exit == Exit::kNotStarted) return OnFailedStart(child, exit_code);
  const std::string role_name(RoleName(role));
  if (++restarts_by_role_[role_name] > options_.max_restarts_per_role) {
    return End(child, kExitRunFailed,
               absl::StrFormat("%s, and the %d restarts of role %s are used up", ended, options_.max_restarts_per_role,
                               role_name));
  }
  if (clock_.Now() - child.started_at >= options_.stable_after) child.backoff.Reset();
  const absl::Duration delay = child.backoff.Next();
  // One that the coordinator sent home exits with 0: the trainer's end follows, and there is nothing to tell.
  if (exit != Exit::kSuccess) note_(absl::StrFormat("%s; starts again in %.1f s", ended, absl::ToDoubleSeconds(delay)));
  if (reaction == Reaction::kRestartAllRanks) return RestartAllRanks(delay);
  RestartLater(child, delay);
  return std::nullopt;
}

RunEnd Supervisor::EndBy(const Child& child, Exit exit, int exit_code, const std::string& ended) const {
  if (stop_until_.has_value() && (exit == Exit::kKilled || exit == Exit::kPeerLost || exit == Exit::kNotStarted)) {
    note_(absl::StrCat(ended, " instead of saving; the checkpoint before stands"));
    return {kExitRetry, ""};
  }
  if (exit != Exit::kSuccess) return End(child, exit_code, ended);
  return child.plan.role == Role::kTrainer ? RunEnd{} : End(child, kExitInternal, ended);
}

std::optional<RunEnd> Supervisor::OnFailedStart(Child& child, int exit_code) {
  const std::string what =
      absl::StrFormat("%s could not be started on %s (%s says %d)", child.plan.name, child.plan.host,
                      child.plan.starter.argv.empty() ? "it" : child.plan.starter.argv[0], exit_code);
  if (!IsRank(child.plan)) {
    if (child.failed_starts == 1)
      note_(absl::StrFormat("%s; the run goes on without it, and it is tried again every %.0f s", what,
                            absl::ToDoubleSeconds(options_.start_again_after)));
    RestartLater(child, options_.start_again_after);
    return std::nullopt;
  }
  note_(what);
  if (child.failed_starts >= options_.max_failed_starts) {
    note_(absl::StrCat("the trainer needs ", child.plan.host, ": the run ends here and goes on elsewhere"));
    return RunEnd{kExitRetry, ""};
  }
  return RestartAllRanks(child.backoff.Next());
}

std::vector<Supervisor::Child*> Supervisor::Ranks() const {
  std::vector<Child*> ranks;
  for (const std::unique_ptr<Child>& child : children_) {
    if (IsRank(child->plan)) ranks.push_back(child.get());
  }
  return ranks;
}

bool Supervisor::HasPeers(const Child& child) const {
  return IsRank(child.plan) && Ranks().size() > 1;
}

void Supervisor::RestartLater(Child& child, absl::Duration delay) {
  child.process.reset();
  child.serves = child.done = false;
  child.restart_at = clock_.Now() + delay;
}

std::optional<RunEnd> Supervisor::RestartAllRanks(absl::Duration delay) {
  for (Child* rank : Ranks()) {
    // Why the others are gone, if it was this one's own doing.
    const std::optional<int> exit_code = rank->process != nullptr ? rank->process->Poll() : std::nullopt;
    const Exit exit = exit_code.has_value() ? ClassifyExit(*exit_code, HasPeers(*rank)) : Exit::kSuccess;
    if (exit != Exit::kSuccess && ReactionTo(Phase::kRunning, exit, rank->plan.role) == Reaction::kEndRun)
      return End(*rank, *exit_code, absl::StrCat(rank->plan.name, " ended with ", DescribeExit(*exit_code)));
  }
  // All at a time: behind a starter each may take a while.
  for (Child* rank : Ranks()) {
    if (rank->process != nullptr) rank->process->Kill();
  }
  for (Child* rank : Ranks()) RestartLater(*rank, delay);
  return std::nullopt;
}

RunEnd Supervisor::End(const Child& child, int exit_code, const std::string& message) const {
  RunEnd end{exit_code, message};
  const std::string& log_path = child.plan.log_path;
  const std::vector<std::string> lines = LastLines(log_path, options_.num_log_lines);
  if (!lines.empty()) absl::StrAppend(&end.message, "; the last lines of ", log_path, ":");
  for (const std::string& line : lines)
    absl::StrAppend(&end.message, "\n  | ", Truncated(Printable(line), kMaxLogLineBytes));
  return end;
}

std::optional<std::string> Supervisor::Address(const std::string& name) const {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->plan.name == name && child->serves) return child->address;
  }
  return std::nullopt;
}

Supervisor::Child* Supervisor::Trainer() const {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->plan.role == Role::kTrainer) return child.get();
  }
  return nullptr;
}

std::optional<int> Supervisor::TrainerPid(bool serving) const {
  const Child* const trainer = Trainer();
  if (trainer == nullptr || trainer->process == nullptr || (serving && !trainer->serves)) return std::nullopt;
  if (trainer->plan.starter.argv.empty()) return trainer->process->pid();
  return trainer->serves && trainer->served_pid > 0 ? std::make_optional(trainer->served_pid) : std::nullopt;
}

void Supervisor::Stop(absl::Duration bound) {
  restarting_ = false;
  stop_bound_ = bound;
  stop_until_ = clock_.Now() + bound;
  Child* const trainer = Trainer();
  if (trainer != nullptr && trainer->process != nullptr) Send(*trainer, SIGTERM);
}

std::optional<RunEnd> Supervisor::EndOfStop() {
  if (!stop_until_.has_value()) return std::nullopt;
  Child* const trainer = Trainer();
  if (trainer == nullptr || trainer->process == nullptr) {
    note_(trainer == nullptr ? "stopped before the trainer was started"
                             : "stopped while the trainer waited to be started again; its last checkpoint stands");
    return RunEnd{kExitRetry, ""};
  }
  if (clock_.Now() < *stop_until_) return std::nullopt;
  const std::optional<int> exit_code = trainer->process->Poll();
  if (exit_code.has_value()) return OnExit(*trainer, *exit_code);
  note_(absl::StrFormat("%s did not end within %.0f s of the stop and is killed; its last checkpoint stands",
                        trainer->plan.name, absl::ToDoubleSeconds(stop_bound_)));
  trainer->process.reset();
  return RunEnd{kExitRetry, ""};
}

void Supervisor::Send(const Child& child, int signal_number) {
  const Starter& starter = child.plan.starter;
  if (starter.argv.empty()) return child.process->Signal(signal_number);
  if (signal_number == SIGQUIT) return;
  child.process->Signal(signal_number == SIGTERM ? starter.stop_signal : signal_number);
}

void Supervisor::SignalAll(int signal_number) {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->process != nullptr) Send(*child, signal_number);
  }
}

void Supervisor::StopAll(absl::Duration grace) {
  restarting_ = false;
  SignalAll(SIGTERM);
  const absl::Duration deadline = clock_.Now() + grace;
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->process != nullptr) child->process->WaitFor(deadline - clock_.Now());
    if (child->process != nullptr) child->process->Kill();
  }
  for (const std::unique_ptr<Child>& child : children_) child->process.reset();
}

}  // namespace grpo
