// Who works for the run, and what each last said of itself. Pure data: no lock, no clock, no I/O; `now` is an argument
// that never goes back. Thread-compatible.
//
// A worker is live until nothing was heard of it for two heartbeat intervals, and again from its next call on. Its id
// names slot, attempt and epoch ("rollout-0.1@3"), so a coordinator that was started anew knows none of the old ids and
// asks to register again.
//
// A live worker that holds groups and hands none in keeps the run from them for as long as it says that it is there.
// Past hand_in_within it is passed over, for as long again, while another worker can go on. Time in which it was lost
// does not count: then its leases run out.
#ifndef GRPO_COORDINATOR_WORKER_TABLE_H_
#define GRPO_COORDINATOR_WORKER_TABLE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/coordinator.pb.h"
#include "proto/trainer.pb.h"

namespace grpo {

class WorkerTable {
 public:
  // `now` is when waiting for workers begins.
  WorkerTable(int64_t epoch, absl::Duration heartbeat_interval, absl::Duration now,
              absl::Duration hand_in_within = absl::InfiniteDuration())
      : epoch_(epoch), lost_after_(2 * heartbeat_interval), hand_in_within_(hand_in_within), started_(now) {}

  struct Admission {
    // NAME.ATTEMPT@EPOCH.
    std::string worker_id;
    // Id of this slot's previous attempt, which is unknown from now on; empty when there was none.
    std::string replaced_id;
    // Whether that one's end may be blamed on what it worked on: not when it had said that something else blocks it.
    bool replaced_died_working = false;
  };
  // Idempotent per (worker_name, worker_attempt). InvalidArgument for a name or attempt that is none,
  // FailedPrecondition for an attempt older than the registered one, ResourceExhausted above kMaxWorkers names. A name
  // has 1 to 256 bytes and no control characters, attempts count from 1.
  absl::StatusOr<Admission> Register(const v1::RegisterRequest& request, absl::Duration now);

  // Notes that the worker called. NotFound when the id is unknown.
  absl::Status Touch(const std::string& worker_id, absl::Duration now);

  // Notes what the worker says; of blocked_reason the first KiB. NotFound when the id is unknown, InvalidArgument for a
  // negative number of tokens and a policy's name above 256 bytes.
  absl::Status Heartbeat(const v1::HeartbeatRequest& request, absl::Duration now);

  // The worker was given groups; it handed one in, and holds more or none. Nothing happens when the id is unknown.
  void NoteTaken(const std::string& worker_id, absl::Duration now);
  void NoteHandedIn(const std::string& worker_id, bool holds_more, absl::Duration now);
  // Begins to pass the worker over where that is due; why, in words, for the log. Empty otherwise, so once each time.
  // All that the worker holds is to be given to others.
  std::string PassOverIfDue(const std::string& worker_id, absl::Duration now);
  // Whether it may be given no groups now. False once no other worker can go on, and when the id is unknown.
  bool IsPassedOver(const std::string& worker_id, absl::Duration now) const;

  // The worker has left; its id is unknown from now on. Nothing happens when it was unknown.
  void Remove(const std::string& worker_id);

  // Whether the worker is lost and its silence may be blamed on what it worked on (Admission.replaced_died_working).
  // False for an id that is unknown.
  bool IsDeadWorking(const std::string& worker_id, absl::Duration now) const;

  // Whether the id is known and was heard of within two heartbeat intervals.
  bool IsLive(const std::string& worker_id, absl::Duration now) const;

  // The slot's name; empty when the id is unknown.
  std::string NameOf(const std::string& worker_id) const;

  // Coordinator::BlockedReason.
  std::string BlockedReason(absl::Duration tolerance, absl::Duration now) const;

  // Everything but num_leases, by name. Also of the lost ones.
  std::vector<v1::WorkerStatus> Statuses(absl::Duration now) const;

  // Bounds what callers can make the table hold.
  static constexpr int kMaxWorkers = 16384;

 private:
  struct Worker {
    // The slot: one attempt of it is registered at a time.
    std::string name;
    int32_t attempt = 0;
    // When anything was last heard of it, on the clock of `now`.
    absl::Duration last_seen;
    // The version whose weights it holds; meaningless unless holds_policy.
    v1::PolicyRef held_policy;
    bool holds_policy = false;
    // Empty while it can go on.
    std::string blocked_reason;
    // On the clock of `now`, from how long the worker says it has been.
    absl::Duration blocked_since;
    // It blocks the run, whatever the others do.
    bool blocks_run = false;
    // Since the worker's start, as it last said.
    int64_t num_tokens_generated = 0;
    // Since when it has held groups and handed none in; infinite while it holds none.
    absl::Duration working_since = absl::InfiniteDuration();
    // Until when it is passed over.
    absl::Duration passed_over_until;
  };

  // "rollout-0 is blocked for 5s: ...".
  static std::string BlockedText(const Worker& worker, absl::Duration now);
  // BlockedText of one that blocks the run by itself; empty when none does.
  std::string ReasonOfOne(absl::Duration tolerance, absl::Duration now) const;
  bool IsLost(const Worker& worker, absl::Duration now) const { return now - worker.last_seen > lost_after_; }
  // Notes that it called.
  void Hear(Worker& worker, absl::Duration now) const;
  // Whether a worker other than this one can go on.
  bool AnotherCanGoOn(const Worker& worker, absl::Duration now) const;
  // Why it is passed over.
  std::string PassedOverText() const;

  const int64_t epoch_;
  const absl::Duration lost_after_;
  const absl::Duration hand_in_within_;
  const absl::Duration started_;
  // Slot -> id of its newest attempt, also while that one is lost.
  std::map<std::string, std::string> id_of_name_;
  std::map<std::string, Worker> workers_;  // by id
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_WORKER_TABLE_H_
