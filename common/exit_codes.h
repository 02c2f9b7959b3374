// Exit codes of every binary (sysexits.h where it fits). Schedulers retry 75, 137 and 143 and never 64, 65, 77 or 78.
#ifndef GRPO_COMMON_EXIT_CODES_H_
#define GRPO_COMMON_EXIT_CODES_H_

#include "absl/status/status.h"

namespace grpo {

enum ExitCode : int {
  kExitOk = 0,
  // The run ended with an error that none of the others names.
  kExitRunFailed = 1,
  // The command line cannot be read.
  kExitUsage = 64,
  // Bad data or a broken checkpoint.
  kExitData = 65,
  // An input file is not there.
  kExitNoInput = 66,
  // A service cannot be reached.
  kExitUnavailable = 69,
  // What should not happen (absl::StatusCode::kInternal): a bug, or an error of the system that has no code of its own.
  kExitInternal = 70,
  // A file, folder or port cannot be taken, or is locked.
  kExitCannotCreate = 73,
  // stdout could not take all of a verb's output.
  kExitIo = 74,
  // Stopped before the end; starting again with --resume goes on.
  kExitRetry = 75,
  // No right to a file (a read-only disk's, too), or a token or certificate that the other side does not take.
  kExitNotAllowed = 77,
  // The configuration does not fit.
  kExitConfig = 78,
  // Plus n: ended by signal n.
  kExitSignalBase = 128,
};

// The code for a status that ends a process; `otherwise` for codes that say nothing about the cause. Those are
// ResourceExhausted, FailedPrecondition, OutOfRange, Unimplemented, Cancelled and Unknown.
inline int ExitCodeFor(const absl::Status& status, ExitCode otherwise = kExitRunFailed) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitConfig;
    case absl::StatusCode::kNotFound:
      return kExitNoInput;
    case absl::StatusCode::kDataLoss:
      return kExitData;
    case absl::StatusCode::kAlreadyExists:
      return kExitCannotCreate;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnavailable;
    case absl::StatusCode::kAborted:
      return kExitRetry;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kExitNotAllowed;
    case absl::StatusCode::kInternal:
      return kExitInternal;
    default:
      return otherwise;
  }
}

}  // namespace grpo

#endif  // GRPO_COMMON_EXIT_CODES_H_
