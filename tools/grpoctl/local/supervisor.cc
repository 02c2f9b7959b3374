#include "tools/grpoctl/local/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

// Of each log line that is shown; gRPC's own run to thousands.
constexpr int kMaxLogLineBytes = 300;

// Another start would end in the same way.
bool IsPermanent(int exit_code) {
  switch (exit_code) {
    case kExitUsage:
    case kExitData:
    case kExitNoInput:
    case kExitNotAllowed:
    case kExitConfig:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string DescribeExit(int exit_code) {
  if (exit_code <= kExitSignalBase) return absl::StrCat("exit code ", exit_code);
  const int signal_number = exit_code - kExitSignalBase;
  return absl::StrCat("signal ", signal_number, " (", ::strsignal(signal_number), ")");
}

absl::Status Supervisor::Start(ChildSpec spec) {
  children_.push_back(std::make_unique<Child>());
  children_.back()->spec = std::move(spec);
  return StartAttempt(*children_.back());
}

absl::Status Supervisor::StartAttempt(Child& child) {
  ++child.attempt;
  child.serves = false;
  child.started_at = clock_.Now();
  // What an earlier process wrote would pass for this one's.
  if (!child.spec.endpoint_file.empty()) ::unlink(child.spec.endpoint_file.c_str());
  const std::vector<std::string> environment =
      child.spec.environment ? child.spec.environment(child.attempt) : std::vector<std::string>();
  ASSIGN_OR_RETURN(child.process,
                   Process::Start(child.spec.argv(child.attempt, child.address), child.spec.log_path, environment));
  return absl::OkStatus();
}

void Supervisor::NoticeEndpoint(Child& child) {
  if (child.serves || child.spec.endpoint_file.empty()) return;
  const absl::StatusOr<std::string> content = ReadFile(child.spec.endpoint_file, /*max_bytes=*/1 << 16);
  if (!content.ok()) return;
  const nlohmann::json endpoint = nlohmann::json::parse(*content, nullptr, /*allow_exceptions=*/false);
  if (!endpoint.is_object() || !endpoint.contains("address") || !endpoint["address"].is_string()) return;
  child.address = endpoint["address"].get<std::string>();
  child.serves = true;
}

std::optional<RunEnd> Supervisor::Poll() {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->process == nullptr) {
      if (!restarting_ || child->done || clock_.Now() < child->restart_at) continue;
      note_(absl::StrFormat("starting %s again (restart %d of %d)", child->spec.name,
                            restarts_by_role_[child->spec.role], options_.max_restarts_per_role));
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

std::optional<RunEnd> Supervisor::OnExit(Child& child, int exit_code) {
  const ChildSpec& spec = child.spec;
  child.process.reset();
  const bool never_served = child.attempt == 1 && !spec.endpoint_file.empty() && !child.serves;
  const std::string ended = absl::StrCat(spec.name, " ended with ", DescribeExit(exit_code));
  child.serves = false;
  // One that was killed goes on from the last commit; one that ended by itself has said its last word.
  const bool killed = exit_code > kExitSignalBase;
  const bool lost_another = exit_code == kExitUnavailable && Together(child).size() > 1;
  const bool last_word = !killed && !lost_another && (spec.is_trainer || !spec.group.empty());
  child.done = last_word && exit_code == kExitOk;
  if (spec.is_trainer && (last_word || !restarting_)) {
    return exit_code == kExitOk ? RunEnd{} : End(child, exit_code, ended);
  }
  if (!restarting_ || child.done) return std::nullopt;
  if (last_word || IsPermanent(exit_code) || (never_served && !lost_another))
    return End(child, exit_code == kExitOk ? kExitInternal : exit_code, ended);
  if (++restarts_by_role_[spec.role] > options_.max_restarts_per_role) {
    return End(child, kExitRunFailed,
               absl::StrFormat("%s, and the %d restarts of role %s are used up", ended, options_.max_restarts_per_role,
                               spec.role));
  }
  if (clock_.Now() - child.started_at >= options_.stable_after) child.backoff.Reset();
  const absl::Duration delay = child.backoff.Next();
  // A worker that the coordinator sent home exits with 0: the trainer's end follows, and there is nothing to tell.
  if (exit_code != kExitOk) note_(absl::StrFormat("%s; starts again in %.1f s", ended, absl::ToDoubleSeconds(delay)));
  return RestartTogether(child, delay);
}

std::vector<Supervisor::Child*> Supervisor::Together(Child& child) {
  if (child.spec.group.empty()) return {&child};
  std::vector<Child*> members;
  for (const std::unique_ptr<Child>& other : children_) {
    if (other->spec.group == child.spec.group) members.push_back(other.get());
  }
  return members;
}

std::optional<RunEnd> Supervisor::RestartTogether(Child& child, absl::Duration delay) {
  for (Child* member : Together(child)) {
    // Why the others are gone, if it was this one's own doing.
    const std::optional<int> exit_code = member->process != nullptr ? member->process->Poll() : std::nullopt;
    if (exit_code.has_value() && *exit_code < kExitSignalBase && *exit_code != kExitUnavailable &&
        *exit_code != kExitOk)
      return End(*member, *exit_code, absl::StrCat(member->spec.name, " ended with ", DescribeExit(*exit_code)));
    member->process.reset();
    member->serves = member->done = false;
    member->restart_at = clock_.Now() + delay;
  }
  return std::nullopt;
}

RunEnd Supervisor::End(const Child& child, int exit_code, const std::string& message) const {
  RunEnd end{exit_code, message};
  const std::vector<std::string> lines = LastLines(child.spec.log_path, options_.num_log_lines);
  if (!lines.empty()) absl::StrAppend(&end.message, "; the last lines of ", child.spec.log_path, ":");
  for (const std::string& line : lines)
    absl::StrAppend(&end.message, "\n  | ", Truncated(Printable(line), kMaxLogLineBytes));
  return end;
}

std::optional<std::string> Supervisor::Address(const std::string& name) const {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->spec.name == name && child->serves) return child->address;
  }
  return std::nullopt;
}

bool Supervisor::AllServe() const {
  for (const std::unique_ptr<Child>& child : children_) {
    if (!child->spec.endpoint_file.empty() && !child->serves) return false;
  }
  return true;
}

void Supervisor::SignalTrainer(int signal_number) {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->spec.is_trainer && child->process != nullptr) child->process->Signal(signal_number);
  }
}

void Supervisor::StopAll(absl::Duration grace) {
  restarting_ = false;
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->process != nullptr) child->process->Signal(SIGTERM);
  }
  const absl::Duration deadline = clock_.Now() + grace;
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->process != nullptr) child->process->WaitFor(deadline - clock_.Now());
    child->process.reset();
  }
}

}  // namespace grpo
