// The checks of `grpoctl doctor`. To add one: a function in one of checks_*.cc, and a line in checks.inc.
#ifndef GRPO_TOOLS_DOCTOR_CHECKS_H_
#define GRPO_TOOLS_DOCTOR_CHECKS_H_

#include <string>
#include <utility>
#include <vector>

#include "common/exit_codes.h"
#include "tools/doctor/machine.h"
#include "trainer/run_config.h"

namespace grpo {

enum class Severity { kOk, kWarning, kProblem };

// One thing that was found. Texts may hold what others wrote: whoever shows them makes them printable.
struct Finding {
  Severity severity = Severity::kOk;
  // A sentence, and what to do about it; the latter is empty where nothing is to be done.
  std::string what, todo = {};
  // Of a problem: one of common/exit_codes.h.
  int code = kExitOk;
};

// What one check found, in order.
class Findings {
 public:
  void Ok(std::string what) { list_.push_back({Severity::kOk, std::move(what)}); }
  void Warn(std::string what, std::string todo) {
    list_.push_back({Severity::kWarning, std::move(what), std::move(todo)});
  }
  void Problem(std::string what, std::string todo, int code) {
    list_.push_back({Severity::kProblem, std::move(what), std::move(todo), code});
  }
  const std::vector<Finding>& list() const { return list_; }

 private:
  std::vector<Finding> list_;
};

// What is checked.
struct Subject {
  const Machine& machine;
  // Null without a configuration.
  const RunConfig* config = nullptr;
  // Where the run is or would be; it need not exist.
  std::string run_dir = {};
  // Paths of the run's programs, as far as they were built.
  std::vector<std::string> programs = {};
};

// One thread. Changes nothing but in a folder of its own under run_dir, which it removes.
using Check = void (*)(const Subject& subject, Findings* findings);

#define GRPO_DOCTOR_CHECK(function, name, about) void Check##function(const Subject& subject, Findings* findings);
#include "tools/doctor/checks.inc"
#undef GRPO_DOCTOR_CHECK

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_CHECKS_H_
