// A rollout worker: leases groups, samples them with the policy version that the lease names, has them scored and hands
// them in.
//
//   coordinator --Lease--> pending_ --tokenize--> Engine --whole group--> Submitter --score--> reward server
//        ^                                          ^                        |
//        |                                          +-- PullPolicy,          |
//        |                                              when the lease names |
//        |                                              another version      |
//        +-------------------- SubmitCompletion -----------------------------+     Session: heartbeats, lost leases,
//                                                                                  the end of the run
//
//   thread               does                         waits for
//   Run's caller         lease, pull, load, decode    leases (long poll); the engine to run dry before new weights
//   Submitter's threads  score, submit                finished groups, the servers' answers
//   Session's thread     register, heartbeats         the heartbeat interval, or something to tell
//
// Stateless: whatever it loses is leased again elsewhere, and comes out the same (docs/design.md law 5).
#ifndef GRPO_ROLLOUT_WORKER_H_
#define GRPO_ROLLOUT_WORKER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/rpc/client.h"
#include "proto/coordinator.grpc.pb.h"
#include "rollout/engine.h"
#include "rollout/options.h"
#include "rollout/pull_policy.h"
#include "rollout/session.h"
#include "rollout/submitter.h"

namespace grpo {

struct WorkerOptions {
  // HOST:PORT; reward servers are learned there.
  std::string coordinator;
  Session::Identity identity;
  RolloutOptions rollout;
  rpc::ClientOptions client;
};

// One thread but for Stop.
class Worker {
 public:
  // Starts registering. InvalidArgument for addresses and client options that cannot be used.
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const WorkerOptions& options);

  // Works until the run ends. Call once. OK when the run has ended, Aborted after Stop, FailedPrecondition when the
  // coordinator refuses this worker; other errors end a worker that cannot go on.
  absl::Status Run();
  // Makes Run return soon; groups in work are abandoned, their leases expire. Any thread.
  void Stop();

 private:
  // A lease on its way through the engine.
  struct Job {
    // The session's id of the lease, and the engine's of the group.
    int64_t id = 0;
    v1::Lease lease;
    std::vector<uint32_t> prompt_ids;
  };

  Worker(const WorkerOptions& options, std::shared_ptr<rpc::Client> client,
         std::shared_ptr<rpc::Client> heartbeat_client);

  absl::Status Loop();
  void DropLost();
  // Asks for groups when there is room; waits for them only while there is nothing else to do.
  void Lease();
  void TakeLeases(v1::LeaseGroupsResponse response);
  // Puts pending leases into the engine, in order; one that names other weights waits until the engine has run dry.
  absl::Status AdmitPending();
  // Makes the job's policy the held one.
  absl::Status Hold(const Job& job);
  absl::Status ResetEngine();
  void StartJob(Job job);
  absl::Status DecodeStep();
  void Finish(GenerateResult result);
  // Hands the group in as one that can never be produced.
  void Fail(Job job, const std::string& error);

  bool Holds(const v1::PolicyRef& policy) const;
  bool Idle() const { return pending_.empty() && (engine_ == nullptr || engine_->idle()); }

  const WorkerOptions options_;
  const Clock& clock_ = Clock::Real();
  const std::shared_ptr<rpc::Client> client_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  Session session_;
  // Null until Create has made it; before session_ in destruction.
  std::unique_ptr<Submitter> submitter_;

  std::optional<HeldPolicy> held_;
  // Of held_; null before the first policy.
  std::unique_ptr<Engine> engine_;
  // Tokens of engine_ that the session was told of.
  int64_t num_tokens_told_ = 0;

  int64_t next_id_ = 0;
  std::deque<Job> pending_;
  // In the engine, by id.
  std::map<int64_t, Job> running_;
  // No lease call before this.
  absl::Duration next_lease_ = absl::ZeroDuration();
  rpc::Backoff lease_backoff_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_WORKER_H_
