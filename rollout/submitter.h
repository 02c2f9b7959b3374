// Takes finished groups from the worker's thread, has them scored and hands them in, so that sampling goes on
// meanwhile.
#ifndef GRPO_ROLLOUT_SUBMITTER_H_
#define GRPO_ROLLOUT_SUBMITTER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/rpc/client.h"
#include "proto/coordinator.grpc.pb.h"
#include "rollout/group_sampler.h"
#include "rollout/job.h"
#include "rollout/score_client.h"
#include "rollout/session.h"

namespace grpo {

// A group that the generator is done with, or will never be.
struct FinishedGroup {
  // The session's id of the lease.
  int64_t lease_id = 0;
  v1::Lease lease;
  // What Submit's header carries (proto/coordinator.proto).
  std::string policy_digest;
  std::vector<uint32_t> prompt_ids;
  double generate_seconds = 0;
  // Empty when `error` is set: the group can never be produced.
  std::vector<v1::Completion> completions;
  std::string error;
  // Of an endpoint's group.
  v1::EndpointUsage usage = {};
};

// What became of the job's group. Pure.
inline FinishedGroup ToFinishedGroup(Job job, SampledGroup group) {
  return {.lease_id = job.id,
          .lease = std::move(job.lease),
          .policy_digest = std::move(group.policy_digest),
          .prompt_ids = std::move(group.prompt_ids),
          .generate_seconds = group.generate_seconds,
          .completions = std::move(group.completions),
          .error = std::move(group.error),
          .usage = std::move(group.usage)};
}

// Thread-safe. Owns threads that each carry one group at a time: score until a reward server has answered for all of
// it, then submit until the coordinator has taken or refused it. A server that is away holds the group, with its lease
// renewed and the reason in the heartbeats; nothing is ever scored by default. A group whose lease was lost is dropped.
class Submitter {
 public:
  // `session` must outlive this. `coordinator`: the channel for submissions. `scorer` is told the session's reward
  // servers before each attempt.
  Submitter(Session* session, std::shared_ptr<rpc::Client> coordinator, std::unique_ptr<ScoreClient> scorer);
  // Ends the session and joins the threads; groups that were not handed in are abandoned.
  ~Submitter();

  // Its lease is tracked by the session; the group is untracked when it was taken, refused or abandoned. Never blocks:
  // WaitBelow is what bounds the queue.
  void Add(FinishedGroup group);
  // Waits until fewer than `bound` completions are in here, at most `timeout`; true when so. Completions of groups with
  // an error do not count, having none.
  bool WaitBelow(int64_t bound, absl::Duration timeout) const;

 private:
  // Of each thread: one group after the other until the end.
  void Loop();
  // Scores and submits the group, or gives it up. The caller untracks it.
  void Process(const FinishedGroup& group);
  // Cancelled when the lease was lost or the session has ended.
  absl::StatusOr<std::vector<v1::Score>> ScoreUntilDone(const FinishedGroup& group);
  // Returns when the coordinator took or refused the group, the lease was lost or the session has ended.
  // InvalidArgument and Unimplemented end the session: any worker of this build would be answered the same.
  void SubmitUntilDone(const FinishedGroup& group, const std::vector<v1::Score>& scores, double score_seconds);
  // One attempt, with a deadline of a minute. The coordinator's status.
  absl::Status SubmitOnce(v1::SubmitHeader header, const FinishedGroup& group, const std::vector<v1::Score>& scores);

  Session* const session_;
  const std::shared_ptr<rpc::Client> coordinator_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  const std::unique_ptr<ScoreClient> scorer_;

  mutable Mutex mutex_;
  // Set by the destructor: the threads take nothing more.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  // Groups that no thread has taken, first come, first served.
  std::deque<FinishedGroup> queue_ ABSL_GUARDED_BY(mutex_);
  // Of queue_ and of the groups that threads carry.
  int64_t num_completions_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> threads_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SUBMITTER_H_
