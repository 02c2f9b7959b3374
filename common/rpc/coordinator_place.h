// Where a run's coordinator is, as `--coordinator` says it to reward servers and workers, and where it goes.
//
//   HOST:PORT          rank 0's address; a DNS name is looked up again whenever the connection is lost
//   DIR, FILE.json     the run's folder, or its endpoint.json, on a file system that rank 0 writes to: read again when
//                      rank 0 is started elsewhere, or with other tokens and certificates
//
// What holds a slash or ends in .json is a path; a folder "run" beside the caller is "./run".
#ifndef GRPO_COMMON_RPC_COORDINATOR_PLACE_H_
#define GRPO_COMMON_RPC_COORDINATOR_PLACE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/options.h"

namespace grpo {

// Value semantics; const methods may be called by any thread.
class CoordinatorPlace {
 public:
  // Whom to call, and how.
  struct Target {
    // HOST:PORT.
    std::string address;
    rpc::ClientOptions client = {};
    bool operator==(const Target&) const = default;
  };
  // Sleeps so long at most; true when the process is to stop. WaitForStop of common/stop_signal.h is one.
  using Sleep = std::function<bool(absl::Duration)>;

  // `own`: how this process proves itself, by its own configuration; what that leaves open is taken from the file. Where
  // the file names the certificate of the run's operator (operator.pem), those of `role` ("worker", "reward_server") lie
  // beside it and are taken instead. InvalidArgument for a text that is neither. Looks at no file.
  static absl::StatusOr<CoordinatorPlace> Parse(const std::string& text, rpc::ClientOptions own = {},
                                                const std::string& role = "");

  // Whether the target is read from a file, which may be missing or change.
  bool is_file() const { return !path_.empty(); }
  // As it is now. ReadEndpoint's errors, NotFound among them; none where it is not a file.
  absl::StatusOr<Target> Look() const;
  // Whether another than `target` is there now. A file that is missing or broken says nothing: rank 0 removes it at its
  // end, and writes the next once it serves.
  bool MovedFrom(const Target& target) const;

  // Waits for the file, however long; the log says so at once and every minute. Aborted when `sleep` says stop.
  absl::StatusOr<Target> Wait(const Sleep& sleep) const;
  // After a refusal (rpc::IsRefusal) by `target`: true once it has moved. False after kStale, at once where it cannot move, and when
  // `sleep` says stop. A trainer that was killed leaves its file behind, and somebody else may have its port by now.
  bool WaitForMove(const Target& target, const Sleep& sleep) const;

  // How often the file is looked at.
  static constexpr absl::Duration kInterval = absl::Seconds(1);
  // For so long a refusal may come from somebody who is not this run's.
  static constexpr absl::Duration kStale = absl::Seconds(30);

 private:
  // One of the two is empty.
  std::string address_, path_;
  rpc::ClientOptions own_;
  // Empty: certificates are taken as the file names them.
  std::string role_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_RPC_COORDINATOR_PLACE_H_
