// A reward server's membership in a run: tells the coordinator where it serves, again and again, until it stops.
#ifndef GRPO_REWARD_REGISTRATION_H_
#define GRPO_REWARD_REGISTRATION_H_

#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "common/rpc/client.h"
#include "proto/coordinator.grpc.pb.h"

namespace grpo {

// Thread-safe. One thread of its own makes all calls, so that scoring never makes a server look dead. A coordinator
// that is away is called again, however long: it comes back (with another epoch) and knows this server after one call.
class Registration {
 public:
  // What the server says of itself at each call.
  using Announcement = std::function<v1::RegisterRewardServerRequest()>;

  // Starts the thread, which calls `announcement`; protocol version and build are filled in here. From that thread, and
  // once more from the destructor's, so it outlives both.
  Registration(std::shared_ptr<rpc::Client> coordinator, Announcement announcement);
  // Tells the coordinator that this server leaves, unless the run has ended; waits a second for it at most. A call that
  // is under way is cancelled.
  ~Registration();

  // Whether this server has nothing more to do: the run has ended, or the coordinator refuses it.
  bool ended() const;
  // OK while it has not ended, and after the run's end. Otherwise FailedPrecondition, InvalidArgument, Unauthenticated,
  // PermissionDenied or Unimplemented, with the coordinator's reason: what trying again does not change.
  absl::Status status() const;

 private:
  // The thread: a call, then a pause of the interval that the coordinator named, until the end.
  void Loop();
  // One call. Cancelled when the destructor ran meanwhile.
  absl::StatusOr<v1::RegisterRewardServerResponse> Announce(absl::Duration deadline, bool leaving);
  // Nothing more is announced. The first call counts.
  void End(absl::Status why);

  const std::shared_ptr<rpc::Client> coordinator_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  const Announcement announcement_;

  mutable Mutex mutex_;
  // Set by End; why stands in status_.
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  // Set by the destructor.
  bool leaving_ ABSL_GUARDED_BY(mutex_) = false;
  // The call under way, to be cancelled by the destructor.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_REGISTRATION_H_
