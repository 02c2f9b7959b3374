// The checks of checks.inc as one table, run in its order, and what they found as text, JSON and an exit code.
#ifndef GRPO_TOOLS_DOCTOR_DOCTOR_H_
#define GRPO_TOOLS_DOCTOR_DOCTOR_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tools/doctor/checks.h"

namespace grpo {

// What one check found.
struct CheckResult {
  std::string name;
  std::vector<Finding> findings;
};

// A row of the table.
struct CheckRow {
  absl::string_view name, about;
  Check check;
};
const std::vector<CheckRow>& CheckRows();

// All of them, one after the other. A check that throws is a problem by its name, and the others go on. One thread.
std::vector<CheckResult> RunChecks(const Subject& subject);

// Of all findings, in order: a line each, and a second one for what to do. Printable.
std::string FindingsText(const std::vector<CheckResult>& results);
// A list of {"check","severity","what","todo"}; todo is null where nothing is to be done. ASCII.
std::string FindingsJson(const std::vector<CheckResult>& results);
// kExitOk without a problem, otherwise that of the first.
int ExitCodeOf(const std::vector<CheckResult>& results);

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_DOCTOR_H_
