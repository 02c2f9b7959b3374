// A rollout worker: leases groups, samples them with the policy version that the lease names, has them scored and hands
// them in.
//
//   coordinator --Lease--> pending_ --prompt--> Generator --whole group--> Submitter --score--> reward server
//        ^    |                                     ^                      ^ |
//        |    |                                     +-- WeightChannel,     | |
//        |    |                                         when the lease     | |
//        |    |                                         names another      | |
//        |    |                                         version            | |
//        |    +--of an endpoint policy--> EndpointLane --whole group-------+ |
//        +-------------------- SubmitCompletion -----------------------------+     Session: heartbeats, lost leases,
//                                                                                  the end of the run
//
//   thread               does                         waits for
//   Run's caller         lease, fetch, load, step     leases (long poll); the generator to run dry before new weights
//   Submitter's threads  score, submit                finished groups, the servers' answers
//   EndpointSampler's    ask endpoints                requests, the servers' answers
//   Session's thread     register, heartbeats         the heartbeat interval, or something to tell
//
// Stateless: whatever it loses is leased again elsewhere, and comes out the same (docs/design.md law 5).
#ifndef GRPO_ROLLOUT_WORKER_H_
#define GRPO_ROLLOUT_WORKER_H_

#include <cstdint>
#include <deque>
#include <functional>
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
#include "rollout/endpoint_lane.h"
#include "rollout/generator.h"
#include "rollout/held_policy.h"
#include "rollout/job.h"
#include "rollout/options.h"
#include "rollout/session.h"
#include "rollout/submitter.h"
#include "rollout/weight_channel.h"

namespace grpo {

// Plain data; what it holds is copied by Worker::Create.
struct WorkerOptions {
  // HOST:PORT; reward servers are learned there. InvalidArgument from Create for another form.
  std::string coordinator;
  // weight_channels are filled by Create.
  Session::Identity identity;
  RolloutOptions rollout;
  // What it samples on: rollout.device, resolved (model/device.h).
  at::Device device = at::kCPU;
  rpc::ClientOptions client;
  // What samples; must be given. Called again after a generator has failed.
  std::function<absl::StatusOr<std::unique_ptr<Generator>>(const GeneratorContext&)> make_generator;
  // What answers for policies that are only addresses; without any, no group of such a policy is asked for.
  EndpointLane::Options endpoints = {};
};

// One thread but for Stop.
class Worker {
 public:
  // Starts registering. InvalidArgument for addresses and client options that cannot be used. A coordinator that does
  // not answer is no error: the worker tries again until it does.
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const WorkerOptions& options);

  // Works until the run ends. Call once. OK when the run has ended, Aborted after Stop, Session::status's errors when
  // the coordinator refuses this worker; other errors end a worker that cannot go on. Those are Internal (torch,
  // memory), and InvalidArgument or Unimplemented (a submission that no worker of this build could make right).
  absl::Status Run();
  // Makes Run return soon; groups in work are abandoned, and the coordinator is told, so that others sample them at
  // once. Any thread.
  void Stop();

 private:
  Worker(const WorkerOptions& options, std::shared_ptr<rpc::Client> client,
         std::shared_ptr<rpc::Client> heartbeat_client);

  // OK when the session has ended; an error ends it.
  absl::Status Loop();
  // Forgets the jobs whose leases were lost, wherever they are.
  void DropLost();
  // Asks for groups when there is room; waits for them only while there is nothing else to do.
  void AskForLeases();
  // How many completions generator_ can take now; none while a pending lease waits for other weights.
  int64_t Room() const;
  // Tracks the leases and puts them into pending_, or into endpoints_.
  void TakeLeases(v1::LeaseGroupsResponse response);
  // Puts pending leases into the generator, in order; one that names other weights waits until it has run dry. Internal
  // ends the worker; a group whose policy cannot be run is handed in as failed, one whose version is gone is dropped.
  absl::Status AdmitPending();
  // Makes the job's policy the held one, in the place of the one before. Then generator_ samples with it; after an
  // error there is neither. REQUIRES: no group is in the generator.
  absl::Status Hold(const Job& job);
  // By the weight channel that was agreed on last. Errors of WeightChannel::Fetch.
  absl::StatusOr<HeldPolicy> Fetch(const Job& job);
  // Makes generator_ anew for held_; the groups of the old one are lost.
  absl::Status ResetGenerator();
  // Gives the job to generator_, or hands it in as failed when that cannot sample it.
  void StartJob(Job job);
  // One step of generator_, and Finish for what is whole. Weights that are at fault fail all running groups.
  absl::Status GenerateStep();
  // Hands a whole group to the submitter.
  void Finish(SampledGroup group);
  // Hands the group in as one that can never be produced.
  void Fail(Job job, const std::string& error);

  // Whether held_ is this version.
  bool Holds(const v1::PolicyRef& policy) const;
  // A group is in the generator.
  bool Sampling() const { return generator_ != nullptr && !generator_->idle(); }
  // No lease waits, and no group is under way.
  bool Idle() const { return pending_.empty() && !Sampling() && endpoints_->idle(); }

  const WorkerOptions options_;
  const Clock& clock_ = Clock::Real();
  const std::shared_ptr<rpc::Client> client_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  Session session_;
  // Null until Create has made it; before session_ in destruction.
  std::unique_ptr<Submitter> submitter_;
  // The same; it hands over to submitter_.
  std::unique_ptr<EndpointLane> endpoints_;

  // The one that was agreed on last; null before the first policy.
  std::unique_ptr<WeightChannel> weights_;
  std::string weight_channel_name_;
  // What generator_ samples with. Both or neither, but while a policy is exchanged.
  std::optional<HeldPolicy> held_;
  // Of held_; null before the first policy.
  std::unique_ptr<Generator> generator_;
  // Tokens of generator_ that the session was told of.
  int64_t num_tokens_told_ = 0;

  int64_t next_id_ = 0;
  // Leases that wait until generator_ takes them; not empty after AdmitPending only while they name other weights than
  // held_.
  std::deque<Job> pending_;
  // In the generator, by id.
  std::map<int64_t, Job> running_;
  // No lease call before this.
  absl::Duration next_lease_ = absl::ZeroDuration();
  // After calls that failed.
  rpc::Backoff lease_backoff_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_WORKER_H_
