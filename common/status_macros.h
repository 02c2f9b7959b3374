// RETURN_IF_ERROR and ASSIGN_OR_RETURN, under the names that Abseil later gave them (ours predates them).
#ifndef GRPO_COMMON_STATUS_MACROS_H_
#define GRPO_COMMON_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace grpo {

// The same error with `context: ` before its message; OK stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace grpo

// Leaves the function with the error, if `expr` (an absl::Status, evaluated once) is one. The function returns a Status
// or a StatusOr.
#define RETURN_IF_ERROR(expr)                    \
  do {                                           \
    ::absl::Status grpo_status_ = (expr);        \
    if (!grpo_status_.ok()) return grpo_status_; \
  } while (false)

#define GRPO_CONCAT_INNER_(a, b) a##b
#define GRPO_CONCAT_(a, b) GRPO_CONCAT_INNER_(a, b)
// The same for an absl::StatusOr, whose value is moved to `lhs`: a declaration or an assignable expression, without a
// comma outside brackets. Two statements: not after an `if` without braces, and once a line.
#define ASSIGN_OR_RETURN(lhs, expr) GRPO_ASSIGN_OR_RETURN_(GRPO_CONCAT_(grpo_statusor_, __LINE__), lhs, expr)
#define GRPO_ASSIGN_OR_RETURN_(statusor, lhs, expr) \
  auto statusor = (expr);                           \
  if (!statusor.ok()) return statusor.status();     \
  lhs = std::move(statusor).value()

#endif  // GRPO_COMMON_STATUS_MACROS_H_
