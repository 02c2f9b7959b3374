// Named places where a test makes a process fail: killed, stopped, delayed, or told that a system call failed.
//
// Whoever calls these depends on //common:failpoint, whose definition does nothing and is weak. Only a target that is
// testonly can link //common:failpoint_on in its place, so no production binary can be armed
// (tests/failpoints/production_test.sh looks). What to arm, and when, is described in common/failpoint_on.h.
#ifndef GRPO_COMMON_FAILPOINT_H_
#define GRPO_COMMON_FAILPOINT_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace grpo {

// Passes the place `name`, "component.action", in the state `detail`. Returns the errno that the next system call shall
// seem to fail with, 0 for none: always 0 in production. Thread-safe.
int FailpointErrno(absl::string_view name, absl::string_view detail);

// The same where there is no system call: an error, if one is armed, is returned as it is.
inline absl::Status Failpoint(absl::string_view name, absl::string_view detail) {
  const int error_number = FailpointErrno(name, detail);
  if (error_number == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(error_number, absl::StrCat("failpoint ", name, " (", detail, ")"));
}

}  // namespace grpo

#endif  // GRPO_COMMON_FAILPOINT_H_
