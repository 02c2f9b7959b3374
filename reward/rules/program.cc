// A rule of one's own in any language: a program that answers on its standard streams (reward/program_protocol.h; an
// SDK file for Python and one for C++ are in sdk/). Each of its processes scores one completion at a time, in a sandbox
// (reward/sandbox.h). One that does not answer in deadline_s is killed, and the completion is a deadline outcome; one
// that crashes, or writes anything but answers, is a rule_error. After max_failures of these in a row no program is
// started for a while, longer each time, and the rule is unavailable: the run waits and says why.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "reward/program_process.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;

struct ProgramOptions {
  std::vector<std::string> command;
  std::string folder = ".";
  std::string version;
  double min_value = 0, max_value = 1;
  int64_t processes = 2;
  double deadline_s = 1, start_deadline_s = 10;
  int64_t memory_mib = 512, cpu_s = 3600, max_failures = 20;

  static std::vector<std::string> PathKeys() { return {"folder"}; }

  template <class V>
  void Visit(V& v) {
    v("command", command, {.help = "The program and its arguments: [python3, my_rule.py].", .required = true});
    v("folder", folder, {.help = "Folder that it is started in; relative to the configuration's."});
    v("version", version,
      {.help = "The version of the rule that the program must announce; empty takes any. It is part of the profile's "
               "hash, the program's text is not."});
    v("min_value", min_value, {.help = "Its smallest value; a smaller one is a rule_error.", .min = -1e6, .max = 1e6});
    v("max_value", max_value, {.help = "Its largest value; a larger one is a rule_error.", .min = -1e6, .max = 1e6});
    v("processes", processes,
      {.help = "Processes in each reward server: completions scored at one time.", .min = 1, .max = 1024});
    v("deadline_s", deadline_s,
      {.help = "Time for one completion; then the process is killed.", .unit = "seconds", .min = 0.001, .max = 3600});
    v("start_deadline_s", start_deadline_s,
      {.help = "Time to start and greet.", .unit = "seconds", .min = 0.01, .max = 3600});
    v("memory_mib", memory_mib, {.help = "Address space of each process.", .unit = "MiB", .min = 1, .max = 1e7});
    v("cpu_s", cpu_s,
      {.help = "Processor time of each process over its life; then it is killed and started anew.",
       .unit = "seconds",
       .min = 1,
       .max = 1e9});
    v("max_failures", max_failures,
      {.help = "So many failures in a row, without a completion scored between, and the rule is unavailable for a "
               "while.",
       .min = 1,
       .max = 1e6});
  }
};

// Pauses between starts after failures in a row (the second and later), and of the rule when there were max_failures.
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50), kLongestBackoff = absl::Seconds(2);
constexpr absl::Duration kFirstPause = absl::Seconds(1), kLongestPause = absl::Minutes(1);

steady_clock::time_point In(double seconds) {
  return steady_clock::now() +
         std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(seconds));
}

// The processes, and what is known of their failures. Thread-safe.
class ProgramPool {
 public:
  using Process = std::unique_ptr<ProgramProcess>;

  explicit ProgramPool(const ProgramOptions& options)
      : options_(options),
        sandbox_{.argv = options.command,
                 .folder = options.folder,
                 .memory_bytes = options.memory_mib << 20,
                 .cpu_seconds = options.cpu_s} {}

  // A process that greeted. ResourceExhausted when none gets free in time, Unavailable while the rule pauses: neither
  // takes anything. Otherwise Give follows, or Failed, also when it could not be started.
  absl::StatusOr<Process> Take(steady_clock::time_point give_up_at) {
    Process process;
    {
      MutexLock lock(&mutex_);
      while (num_taken_ >= options_.processes) {
        if (steady_clock::now() >= give_up_at)
          return absl::ResourceExhaustedError("no process of the program got free in time");
        changed_.WaitFor(&mutex_, absl::FromChrono(give_up_at - steady_clock::now()));
      }
      const absl::Duration now = Clock::Real().Now();
      if (now < paused_until_) {
        return absl::UnavailableError(
            absl::StrCat("the program failed ", failures_, " times in a row, the last: ", last_failure_,
                         "; tried again in ", absl::FormatDuration(absl::Ceil(paused_until_ - now, absl::Seconds(1)))));
      }
      ++num_taken_;
      if (!idle_.empty()) {
        process = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    // What a process wrote unasked is the last completion's fault, not the next one's.
    if (process != nullptr && process->IsIdle()) return process;
    return Start();
  }

  // In place of one that failed, which the caller has destroyed.
  absl::StatusOr<Process> Start() {
    WaitForBackoff();
    return ProgramProcess::Start(sandbox_, options_.version, In(options_.start_deadline_s));
  }

  // It answered.
  void Give(Process process) {
    MutexLock lock(&mutex_);
    --num_taken_;
    idle_.push_back(std::move(process));
    failures_ = 0;
    pause_ = kFirstPause;
    changed_.Signal();
  }

  void Failed(const absl::Status& status) {
    MutexLock lock(&mutex_);
    --num_taken_;
    ++failures_;
    last_failure_ = std::string(status.message());
    const int64_t doublings = std::min<int64_t>(failures_ - 2, 10);
    if (failures_ >= 2) not_before_ = Clock::Real().Now() + std::min(kFirstBackoff * (1 << doublings), kLongestBackoff);
    if (failures_ >= options_.max_failures) {
      paused_until_ = Clock::Real().Now() + pause_;
      pause_ = std::min(2 * pause_, kLongestPause);
      spdlog::error("the program {} failed {} times in a row and is not started for a while; the last failure: {}",
                    options_.command[0], failures_, last_failure_);
    }
    changed_.Signal();
  }

 private:
  void WaitForBackoff() {
    absl::Duration until;
    {
      MutexLock lock(&mutex_);
      until = not_before_;
    }
    absl::SleepFor(until - Clock::Real().Now());
  }

  const ProgramOptions options_;
  const SandboxOptions sandbox_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Process> idle_ ABSL_GUARDED_BY(mutex_);
  int64_t num_taken_ ABSL_GUARDED_BY(mutex_) = 0, failures_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string last_failure_ ABSL_GUARDED_BY(mutex_);
  // By Clock::Real().
  absl::Duration not_before_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration paused_until_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration pause_ ABSL_GUARDED_BY(mutex_) = kFirstPause;
};

class ProgramRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const ProgramOptions& options, const Section& section) {
    if (options.command.empty() || options.command[0].empty()) {
      return SectionError(section, "command", "is empty; give a program and its arguments: [python3, my_rule.py]");
    }
    if (options.min_value >= options.max_value) {
      return SectionError(section, "min_value",
                          absl::StrCat(options.min_value, " is not below max_value ", options.max_value));
    }
    return std::make_unique<ProgramRule>(options);
  }
  explicit ProgramRule(const ProgramOptions& options) : options_(options), pool_(options) {}

  std::optional<ValueRange> Range() const override { return ValueRange{options_.min_value, options_.max_value}; }

  absl::Status Prepare() const override {
    absl::StatusOr<ProgramPool::Process> process = pool_.Take(In(options_.start_deadline_s));
    if (!process.ok()) {
      const absl::Status& status = process.status();
      if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) pool_.Failed(status);
      return status;
    }
    pool_.Give(*std::move(process));
    return absl::OkStatus();
  }

  RuleResult Score(const RuleInput& input) const override {
    absl::StatusOr<ProgramPool::Process> process = pool_.Take(input.give_up_at);
    if (absl::IsUnavailable(process.status())) {
      return {.outcome = v1::OUTCOME_RULE_ERROR, .unavailable = std::string(process.status().message())};
    }
    if (absl::IsResourceExhausted(process.status())) {
      return {.outcome = v1::OUTCOME_DEADLINE, .decided_by = std::string(process.status().message())};
    }
    absl::Status status = process.status();
    if (process.ok()) {
      absl::StatusOr<RuleResult> result = Ask(**process, input);
      // What a process that scored others before does wrong may be what those left behind: a fresh one is asked.
      if (!result.ok() && !absl::IsDeadlineExceeded(result.status()) && (*process)->num_answers() > 0) {
        process->reset();
        process = pool_.Start();
        result = process.ok() ? Ask(**process, input) : absl::StatusOr<RuleResult>(process.status());
      }
      if (result.ok()) {
        pool_.Give(*std::move(process));
        return *std::move(result);
      }
      status = result.status();
    }
    // Ends the process before another takes its place.
    process = absl::InternalError("");
    pool_.Failed(status);
    return {.outcome = absl::IsDeadlineExceeded(status) ? v1::OUTCOME_DEADLINE : v1::OUTCOME_RULE_ERROR,
            .decided_by = std::string(status.message())};
  }

 private:
  absl::StatusOr<RuleResult> Ask(ProgramProcess& process, const RuleInput& input) const {
    return process.Ask(input, std::min(input.give_up_at, In(options_.deadline_s)));
  }

  const ProgramOptions options_;
  // Its own lock guards it.
  mutable ProgramPool pool_;
};

}  // namespace

RewardRulePlugin RewardRule_program() {
  return MakeRewardRulePlugin<ProgramOptions, ProgramRule>(
      "What a program of one's own says, asked on its standard streams, in a sandbox.", /*min_value=*/0,
      /*max_value=*/1);
}

}  // namespace grpo
