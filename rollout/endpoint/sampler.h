// The client of an endpoint: groups come in, requests go out, whole groups leave. Links no torch.
//
//   Add --the AnswerLog knows a part of it?--> requests, first come, first served
//         --RateLimiter, Budget, concurrency--> POST --> AnswerLog --> the group; a whole one --> Step
//                                                 +-- 429, 5xx, no answer: RetryPolicy, then again
//
//   thread                        does
//   the caller's                  Add, Cancel, Step: hands over, never waits
//   EndpointOptions.concurrency   one request after the other, each alone on its connection
//
// Nothing is lost: a request is tried on until it is answered or refused for good, and while that takes somebody's hand
// (a spent budget, a refused key, a server that is away) blocked_reason says so. Nothing is taken twice: completion i
// of a group is filled by one answer, which is in the log before it counts.
#ifndef GRPO_ROLLOUT_ENDPOINT_SAMPLER_H_
#define GRPO_ROLLOUT_ENDPOINT_SAMPLER_H_

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/http/client.h"
#include "common/mutex.h"
#include "model/endpoint_options.h"
#include "rollout/endpoint/answer.h"
#include "rollout/endpoint/answer_log.h"
#include "rollout/endpoint/budget.h"
#include "rollout/endpoint/rate_limiter.h"
#include "rollout/endpoint/retry_policy.h"
#include "rollout/endpoint/verdict.h"
#include "rollout/group_sampler.h"

namespace grpo {

// Completions have text and a finish reason alone. Which of a group's requests is answered first changes nothing: each
// asks for certain completions, with a seed of its own. What a server makes of a seed is its own business.
class EndpointSampler final : public GroupSampler {
 public:
  struct Options {
    // The policy's name, for messages and for the files in `folder`.
    std::string policy;
    EndpointOptions endpoint;
    // Holds POLICY.jsonl (AnswerLog), and POLICY.budget.json, which whoever runs this may write while the budget is
    // spent: {"budget_tokens": N, "budget_usd": X} stands in place of what the configuration says.
    std::string folder;
    RetryPolicy retry = {};
  };

  // Starts the threads. Errors of AnswerLog::Open. No connection is made before the first group.
  static absl::StatusOr<std::unique_ptr<EndpointSampler>> Create(const Options& options);
  // Ends what is under way; a server may bill it all the same. Takes about a second.
  ~EndpointSampler() override;

  // InvalidArgument for an empty prompt, one that is not UTF-8, and sampling parameters that make no sense. A group of
  // which the log has everything is whole at once. Reads the log.
  absl::Status Add(GroupRequest request) override;
  // A request of the group that is under way is waited for, and its answer logged: it is paid for.
  void Cancel(int64_t id) override;
  // Never an error; groups that were refused for good come with SampledGroup.error.
  absl::StatusOr<std::vector<SampledGroup>> Step() override;
  bool idle() const override;
  int64_t num_unfinished() const override;
  // As the server counts them.
  int64_t num_tokens_generated() const override;

  // Why nothing goes on, and what to do; empty while it does.
  std::string blocked_reason() const;

 private:
  // Shared by its requests; under mutex_ but for `request` and `key`, which do not change.
  struct Group {
    GroupRequest request;
    std::string key;
    // [G]; empty until answered.
    std::vector<std::optional<Choice>> choices;
    v1::EndpointUsage usage;
    absl::Duration started;
    // Cancelled, refused or whole: nothing more is asked for it.
    bool over = false;
  };
  // Completions first .. first+count-1 of a group, in one request.
  struct Task {
    std::shared_ptr<Group> group;
    int32_t first = 0, count = 0;
    // In a row.
    int64_t failures = 0;
    // Of them, those that the server did answer: another attempt is another request, and not to be answered from what
    // the server remembers. One that broke is the same one.
    int64_t num_bad_answers = 0;
    // Not begun before.
    absl::Duration not_before = -absl::InfiniteDuration();
    // Made of one for several completions that was refused: when this goes well, the server knows no more than one.
    bool split = false;
  };

  EndpointSampler(const Options& options, std::unique_ptr<AnswerLog> log);

  // Of each thread.
  void Loop();
  // Waits for a request that may begin; nullopt at the end. What it may cost is then set aside.
  std::optional<Task> Take();
  // The first that is due, taken out of tasks_; `wait` says when there may be one.
  std::optional<Task> TakeDue(absl::Duration now, absl::Duration* wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One attempt, with everything that follows.
  void Try(Task task);
  Verdict Attempt(const Task& task);
  // Writes the answer down. What it cost.
  v1::EndpointUsage Log(const Task& task, const Verdict& verdict);

  void TakeAnswer(const Task& task, Answer answer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TryAgain(Task task, const Verdict& verdict) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Refuse(const Task& task, const Verdict& verdict) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Puts requests for all that is missing of the group in line.
  void Ask(const std::shared_ptr<Group>& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Hands the group over when it is whole.
  void FinishIfWhole(Group* group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(Group* group, std::string error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes what POLICY.budget.json says, if it is there.
  void ReadBudget();

  // The most that it may cost: a token has at least a byte, and a server adds its template.
  static TokenCount MostOf(const Task& task);

  const Options options_;
  const Clock& clock_ = Clock::Real();
  const std::unique_ptr<AnswerLog> log_;
  http::Client client_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  RateLimiter limiter_ ABSL_GUARDED_BY(mutex_);
  Budget budget_ ABSL_GUARDED_BY(mutex_);
  std::mt19937 random_ ABSL_GUARDED_BY(mutex_){std::random_device{}()};
  // Under way, by id.
  std::map<int64_t, std::shared_ptr<Group>> groups_ ABSL_GUARDED_BY(mutex_);
  // Requests that wait, the first in line first; those of groups that are over are passed by.
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  std::vector<SampledGroup> whole_ ABSL_GUARDED_BY(mutex_);
  int64_t num_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  // What the server was seen to answer to one request.
  int32_t max_choices_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<int32_t>::max();
  int64_t num_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string blocked_ ABSL_GUARDED_BY(mutex_);
  // It is the budget that blocked_ tells of.
  bool budget_spent_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_SAMPLER_H_
