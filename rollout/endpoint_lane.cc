#include "rollout/endpoint_lane.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {

EndpointLane::EndpointLane(Options options, Session* session, Submitter* submitter)
    : options_(std::move(options)), session_(*session), submitter_(*submitter) {}

EndpointLane::~EndpointLane() = default;

int64_t EndpointLane::room() const {
  int64_t room = -static_cast<int64_t>(running_.size());
  for (const auto& [policy, endpoint] : options_.endpoints) room += 2 * endpoint.concurrency;
  return std::max<int64_t>(0, room);
}

absl::StatusOr<EndpointSampler*> EndpointLane::SamplerOf(const std::string& policy) {
  if (const auto known = endpoints_.find(policy); known != endpoints_.end()) return known->second.sampler.get();
  const auto options = options_.endpoints.find(policy);
  if (options == options_.endpoints.end()) {
    return absl::InvalidArgumentError(absl::StrCat("this worker's configuration has no policies.", policy,
                                                   ".endpoint: start it with the run's config.yaml"));
  }
  ASSIGN_OR_RETURN(
      std::unique_ptr<EndpointSampler> sampler,
      EndpointSampler::Create(
          {.policy = policy, .endpoint = options->second, .folder = options_.answers_folder, .retry = options_.retry}));
  return endpoints_.emplace(policy, Endpoint{.sampler = std::move(sampler)}).first->second.sampler.get();
}

void EndpointLane::Add(Job job) {
  const int64_t id = job.id;
  const absl::StatusOr<EndpointSampler*> sampler = SamplerOf(job.lease.policy().policy_id());
  absl::Status added = sampler.status();
  if (added.ok()) added = (*sampler)->Add(ToGroupRequest(job));
  std::string error = added.ok() ? "" : PromptError(job, added);
  running_.emplace(id, std::move(job));
  if (!added.ok()) HandIn({.id = id, .error = std::move(error)});
}

void EndpointLane::Cancel(int64_t id) {
  const auto running = running_.find(id);
  if (running == running_.end()) return;
  endpoints_.at(running->second.lease.policy().policy_id()).sampler->Cancel(id);
  running_.erase(running);
}

bool EndpointLane::Step() {
  bool any = false;
  for (auto& [policy, endpoint] : endpoints_) {
    absl::StatusOr<std::vector<SampledGroup>> whole = endpoint.sampler->Step();
    const int64_t num_tokens = endpoint.sampler->num_tokens_generated();
    session_.AddTokens(num_tokens - std::exchange(endpoint.num_tokens_told, num_tokens));
    if (!whole.ok()) continue;  // never
    any |= !whole->empty();
    for (SampledGroup& group : *whole) HandIn(std::move(group));
  }
  TellWhatBlocks();
  return any;
}

void EndpointLane::HandIn(SampledGroup group) {
  Job job = std::move(running_.extract(group.id).mapped());
  session_.ClearBlocked(group.id);
  submitter_.Add(ToFinishedGroup(std::move(job), std::move(group)));
}

void EndpointLane::TellWhatBlocks() {
  std::map<std::string, std::string> reasons;
  for (const auto& [policy, endpoint] : endpoints_) reasons[policy] = endpoint.sampler->blocked_reason();
  for (const auto& [id, job] : running_) {
    const std::string& reason = reasons[job.lease.policy().policy_id()];
    if (reason.empty()) {
      session_.ClearBlocked(id);
    } else {
      session_.SetBlocked(id, reason, /*blocks_run=*/true);
    }
  }
}

}  // namespace grpo
