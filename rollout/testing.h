// A coordinator and a reward server for tests, over loopback: they do what a test tells them and remember what they
// were told.
#ifndef GRPO_ROLLOUT_TESTING_H_
#define GRPO_ROLLOUT_TESTING_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "model/weights/weight_set.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/reward.grpc.pb.h"

namespace grpo {

// Guards a test's state and waits for it to become what the test expects, without sleeping.
class Watched {
 public:
  // False when `condition` (called with the lock held) does not hold within 20 s.
  bool Wait(const std::function<bool()>& condition) {
    MutexLock lock(&mutex);
    return mutex.AwaitFor(condition, absl::Seconds(20));
  }
  Mutex mutex;
};

// Thread-safe; fields are read and written under `mutex`. A worker registers as often as it likes, as "worker-1",
// "worker-2" and so on; only the id that was given last is known. Leases go out once and are never taken back.
class FakeCoordinator : public v1::Coordinator::Service, public Watched {
 public:
  // What one call of SubmitCompletion carried.
  struct Submission {
    v1::SubmitHeader header;
    std::vector<v1::ScoredCompletion> completions;
  };

  // The next call of LeaseGroups gets it, or the one that waits.
  void Offer(v1::Lease lease) {
    MutexLock lock(&mutex);
    leases.push_back(std::move(lease));
  }

  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    MutexLock lock(&mutex);
    registrations.push_back(*request);
    if (!refuse_registration.empty()) return {grpc::StatusCode::FAILED_PRECONDITION, refuse_registration};
    worker_id = absl::StrCat("worker-", registrations.size());
    response->set_worker_id(worker_id);
    response->set_run_id("run");
    response->set_heartbeat_interval_ms(10);
    for (const std::string& address : reward_servers) response->add_reward_servers(address);
    response->set_weight_channel(weight_channel);
    return grpc::Status::OK;
  }

  // Waits for wait_ms of real time. The last lease of an answer may go beyond max_completions.
  grpc::Status LeaseGroups(grpc::ServerContext* context, const v1::LeaseGroupsRequest* request,
                           v1::LeaseGroupsResponse* response) override {
    MutexLock lock(&mutex);
    if (request->worker_id() != worker_id) return {grpc::StatusCode::NOT_FOUND, "unknown worker"};
    const absl::Duration deadline = Clock::Real().Now() + absl::Milliseconds(request->wait_ms());
    // A cancelled call leaves its thread only here: the wait is cut into pieces.
    while (leases.empty() && !run_ended && Clock::Real().Now() < deadline && !context->IsCancelled()) {
      mutex.AwaitFor([this] { return !leases.empty(); }, absl::Milliseconds(20));
    }
    for (int32_t room = request->max_completions(); !leases.empty() && room > 0; leases.pop_front()) {
      room -= leases.front().sampling().num_completions();
      *response->add_leases() = leases.front();
    }
    response->set_run_ended(run_ended);
    return grpc::Status::OK;
  }

  // Takes whatever comes, unread, from the worker that is known.
  grpc::Status SubmitCompletion(grpc::ServerContext*, grpc::ServerReader<v1::SubmitCompletionRequest>* reader,
                                v1::SubmitCompletionResponse* response) override {
    Submission submission;
    v1::SubmitCompletionRequest request;
    while (reader->Read(&request)) {
      if (request.has_header()) submission.header = request.header();
      if (request.has_completion()) submission.completions.push_back(request.completion());
    }
    MutexLock lock(&mutex);
    if (submission.header.worker_id() != worker_id) return {grpc::StatusCode::NOT_FOUND, "unknown worker"};
    submissions.push_back(std::move(submission));
    response->set_result(v1::SUBMIT_RESULT_ACCEPTED);
    return grpc::Status::OK;
  }

  // The version under `weights`, in chunks of kChunkBytes from offset_bytes on; the policy's name is not looked at.
  // Uses up one of pull_faults.
  grpc::Status PullWeights(grpc::ServerContext*, const v1::PullWeightsRequest* request,
                           grpc::ServerWriter<v1::PullWeightsResponse>* writer) override {
    WeightSet set;
    PullFault fault;
    {
      MutexLock lock(&mutex);
      pulls.push_back(*request);
      const auto found = weights.find(request->policy().number());
      if (found == weights.end()) return {grpc::StatusCode::NOT_FOUND, "that version is no longer kept"};
      set = found->second;
      if (!pull_faults.empty()) {
        fault = pull_faults.front();
        pull_faults.pop_front();
      }
    }
    v1::PullWeightsResponse response;
    *response.mutable_manifest() = set.manifest;
    writer->Write(response);
    const int64_t size = set.payload.size();
    for (int64_t offset = request->offset_bytes(), sent = 0; offset < size;
         offset += kChunkBytes, sent += kChunkBytes) {
      if (sent >= fault.break_after_bytes) return {grpc::StatusCode::UNAVAILABLE, "the stream broke"};
      response.mutable_chunk()->set_offset_bytes(offset);
      *response.mutable_chunk()->mutable_data() = set.payload.substr(offset, kChunkBytes);
      if (fault.flip_a_bit) (*response.mutable_chunk()->mutable_data())[0] ^= 1;
      writer->Write(response);
    }
    return grpc::Status::OK;
  }

  // Tells `lost`, run_ended and reward_servers as they are, at every call.
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    MutexLock lock(&mutex);
    if (request->worker_id() != worker_id) return {grpc::StatusCode::NOT_FOUND, "unknown worker"};
    heartbeat = *request;
    for (const v1::LeaseKey& key : lost) *response->add_lost() = key;
    response->set_run_ended(run_ended);
    for (const std::string& address : reward_servers) response->add_reward_servers(address);
    return grpc::Status::OK;
  }

  static constexpr int64_t kChunkBytes = 1000;
  // What goes wrong in one stream of PullWeights.
  struct PullFault {
    int64_t break_after_bytes = int64_t{1} << 40;
    bool flip_a_bit = false;
  };

  // Told by the test.
  std::string refuse_registration;
  std::string weight_channel;  // empty: the answer does not say
  std::deque<v1::Lease> leases;
  std::map<int64_t, WeightSet> weights;  // by policy number
  std::deque<PullFault> pull_faults;     // of the next streams, in order
  std::vector<v1::LeaseKey> lost;
  std::vector<std::string> reward_servers;
  bool run_ended = false;
  // Calls of another worker_id are answered NOT_FOUND; a test that changes it restarts the coordinator.
  std::string worker_id;

  // Told by the worker.
  std::vector<v1::RegisterRequest> registrations;
  std::vector<Submission> submissions;
  std::vector<v1::PullWeightsRequest> pulls;
  v1::HeartbeatRequest heartbeat;  // the newest
};

// Scores a completion by the length of its text, unless `answer` changes or removes the answer. Thread-safe.
class FakeRewardServer : public v1::RewardService::Service, public Watched {
 public:
  // Gets the number of the call, from 0, and the answers; returns how the call ends.
  using Answer =
      std::function<grpc::Status(int64_t call, grpc::ServerContext* context, std::vector<v1::ScoreResponse>& answers)>;

  // Reads the whole group, then answers it in the reverse order.
  grpc::Status Score(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>* stream) override {
    std::vector<v1::ScoreResponse> answers;
    v1::ScoreHeader header;
    v1::ScoreRequest request;
    while (stream->Read(&request)) {
      if (request.has_header()) header = request.header();
      if (!request.has_completion()) continue;
      v1::ScoreResponse& answer = answers.emplace_back();
      answer.set_index(request.completion().index());
      answer.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
      answer.mutable_score()->set_value(static_cast<double>(request.completion().text().size()));
    }
    std::reverse(answers.begin(), answers.end());  // any order is allowed
    int64_t call;
    {
      MutexLock lock(&mutex);
      call = static_cast<int64_t>(headers.size());
      headers.push_back(header);
    }
    const grpc::Status status = answer ? answer(call, context, answers) : grpc::Status::OK;
    for (const v1::ScoreResponse& response : answers) stream->Write(response);
    return status;
  }

  // Set before the server is started.
  Answer answer;
  // Of the calls so far; under `mutex`.
  std::vector<v1::ScoreHeader> headers;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_TESTING_H_
