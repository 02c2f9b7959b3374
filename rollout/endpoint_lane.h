// The groups of a worker that endpoints answer, beside those that its generator samples: they wait for servers, so they
// take neither slots nor the worker's thread. Links no torch.
//
//   Worker --Job--> EndpointLane --by policy--> EndpointSampler --whole group--> Submitter
//                        +-- what blocks one --> Session
#ifndef GRPO_ROLLOUT_ENDPOINT_LANE_H_
#define GRPO_ROLLOUT_ENDPOINT_LANE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/endpoint_options.h"
#include "rollout/endpoint/retry_policy.h"
#include "rollout/endpoint/sampler.h"
#include "rollout/job.h"
#include "rollout/session.h"
#include "rollout/submitter.h"

namespace grpo {

// One thread, the worker's.
class EndpointLane {
 public:
  struct Options {
    // By policy: policies.<policy>.endpoint of the run's configuration.
    std::map<std::string, EndpointOptions> endpoints = {};
    // Holds the answers (EndpointSampler::Options.folder); outlives the process.
    std::string answers_folder = {};
    RetryPolicy retry = {};
  };

  // What is given outlives this.
  EndpointLane(Options options, Session* session, Submitter* submitter);
  // Ends what is under way.
  ~EndpointLane();

  // Groups that it can take beside those that it has: two a request that may be under way, so that there is always one
  // to begin. 0 without endpoints.
  int64_t room() const;
  // Takes a group of an endpoint policy, whose lease the session tracks, or hands it in as failed.
  void Add(Job job);
  // An id that is not here is ignored.
  void Cancel(int64_t id);
  // Hands in what is whole, and tells the session what blocks the others; true when anything was handed in. Does not
  // wait.
  bool Step();
  bool idle() const { return running_.empty(); }

 private:
  // Of one policy; never without its sampler.
  struct Endpoint {
    std::unique_ptr<EndpointSampler> sampler;
    // Tokens that the session was told of.
    int64_t num_tokens_told = 0;
  };

  // Made at a policy's first group.
  absl::StatusOr<EndpointSampler*> SamplerOf(const std::string& policy);
  void HandIn(SampledGroup group);
  void TellWhatBlocks();

  const Options options_;
  Session& session_;
  Submitter& submitter_;
  std::map<std::string, Endpoint> endpoints_;
  // By the session's id.
  std::map<int64_t, Job> running_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_LANE_H_
