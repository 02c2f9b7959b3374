// A coordinator for the tests of those that register with it.
#ifndef GRPO_REWARD_REGISTRATION_TESTING_H_
#define GRPO_REWARD_REGISTRATION_TESTING_H_

#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "proto/coordinator.grpc.pb.h"

namespace grpo {

// Answers as the test says and remembers what it was told. Thread-safe.
class FakeCoordinator : public v1::Coordinator::Service {
 public:
  grpc::Status RegisterRewardServer(grpc::ServerContext*, const v1::RegisterRewardServerRequest* request,
                                    v1::RegisterRewardServerResponse* response) override {
    MutexLock lock(&mutex);
    requests.push_back(*request);
    *response = answer;
    return status;
  }

  // False when `condition` (called with the lock held) does not hold within 20 s.
  bool Wait(const std::function<bool()>& condition) {
    MutexLock lock(&mutex);
    return mutex.AwaitFor(condition, absl::Seconds(20));
  }

  Mutex mutex;
  v1::RegisterRewardServerResponse answer;
  grpc::Status status;
  std::vector<v1::RegisterRewardServerRequest> requests;
};

}  // namespace grpo

#endif  // GRPO_REWARD_REGISTRATION_TESTING_H_
