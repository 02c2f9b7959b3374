// One process of a rule that is a program: handshake, then one completion after the other.
#ifndef GRPO_REWARD_PROGRAM_PROCESS_H_
#define GRPO_REWARD_PROGRAM_PROCESS_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "reward/rule.h"
#include "reward/sandbox.h"

namespace grpo {

// One thread at a time. The destructor kills the process.
class ProgramProcess {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Starts it and reads its greeting. FailedPrecondition when it speaks another protocol version, or announces another
  // rule version than `version` (empty takes any); DeadlineExceeded when it says nothing in time; otherwise as
  // StartSandboxed. Internal for a program that ends, or does not greet as a rule. Blocks until then.
  static absl::StatusOr<std::unique_ptr<ProgramProcess>> Start(const SandboxOptions& options,
                                                               const std::string& version, Time give_up_at);
  ~ProgramProcess() { EndSandboxed(&process_); }

  // DeadlineExceeded, or Internal with how it ended and the last it wrote to standard error. After an error the process
  // is of no more use. The outcome and value are the program's: whether they keep the rule's range is not looked at
  // here. Blocks. One completion at a time.
  absl::StatusOr<RuleResult> Ask(const RuleInput& input, Time give_up_at);

  // Whether an answer was got from it, and nothing came behind that. Only such a process is asked again.
  bool IsIdle() const;
  // Since its start.
  int64_t num_answers() const { return num_answers_; }

 private:
  explicit ProgramProcess(const SandboxedProcess& process) : process_(process) {}
  // Sends `out` and reads one frame. DeadlineExceeded when no whole frame came in time; Internal when the program
  // ended, or sent a frame above max_bytes.
  absl::StatusOr<std::string> Exchange(absl::string_view out, size_t max_bytes, Time give_up_at);
  // Internal: `what`, how the process ended, and its last words. Ends it.
  absl::Status Failure(absl::string_view what);
  // Reads what the program wrote to standard error, of which the last 2,000 bytes are kept, so that its writing never
  // blocks.
  void DrainError();

  // Ended already after Failure.
  SandboxedProcess process_;
  // The next request's number is one more.
  int64_t num_answers_ = 0;
  // Bytes of its standard output that were not taken yet; the last of its standard error.
  std::string received_, last_words_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_PROGRAM_PROCESS_H_
