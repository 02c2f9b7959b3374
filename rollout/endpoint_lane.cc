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
  Endpoint& endpoint = endpoints_[policy];
  if (endpoint.sampler != nullptr) return endpoint.sampler.get();
  const auto options = options_.endpoints.find(policy);
  if (options == options_.endpoints.end()) {
    return absl::InvalidArgumentError(absl::StrCat("this worker's configuration has no policies.", policy,
                                                   ".endpoint: start it with the run's config.yaml"));
  }
  ASSIGN_OR_RETURN(
      endpoint.sampler,
      EndpointSampler::Create(
          {.policy = policy, .endpoint = options->second, .folder = options_.answers_folder, .retry = options_.retry}));
  return endpoint.sampler.get();
}

void EndpointLane::Add(Job job) {
  const int64_t id = job.id;
  GroupRequest request = {
      .id = id, .prompt = job.lease.prompt().text(), .seed = job.lease.seed(), .sampling = job.lease.sampling()};
  const absl::StatusOr<EndpointSampler*> sampler = SamplerOf(job.lease.policy().policy_id());
  absl::Status added = sampler.status();
  if (added.ok()) added = (*sampler)->Add(std::move(request));
  const std::string prompt = job.lease.prompt().id();
  running_[id] = {.job = std::move(job), .blocked = ""};
  if (added.ok()) return;
  SampledGroup failed = {.id = id};
  failed.error = absl::StrCat("prompt ", prompt, ": ", added.message());
  HandIn(std::move(failed));
}

void EndpointLane::Cancel(int64_t id) {
  const auto running = running_.find(id);
  if (running == running_.end()) return;
  endpoints_[running->second.job.lease.policy().policy_id()].sampler->Cancel(id);
  running_.erase(running);
}

bool EndpointLane::Step() {
  bool any = false;
  for (auto& [policy, endpoint] : endpoints_) {
    if (endpoint.sampler == nullptr) continue;
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
  Running running = std::move(running_.extract(group.id).mapped());
  if (!running.blocked.empty()) session_.ClearBlocked(group.id);
  submitter_.Add({.lease_id = group.id,
                  .lease = std::move(running.job.lease),
                  .policy_digest = "",
                  .prompt_ids = {},
                  .generate_seconds = group.generate_seconds,
                  .completions = std::move(group.completions),
                  .error = std::move(group.error),
                  .usage = std::move(group.usage)});
}

void EndpointLane::TellWhatBlocks() {
  std::map<std::string, std::string> reasons;
  for (const auto& [policy, endpoint] : endpoints_) {
    if (endpoint.sampler != nullptr) reasons[policy] = endpoint.sampler->blocked_reason();
  }
  for (auto& [id, running] : running_) {
    const std::string& reason = reasons[running.job.lease.policy().policy_id()];
    if (reason == running.blocked) continue;
    running.blocked = reason;
    if (reason.empty()) {
      session_.ClearBlocked(id);
    } else {
      session_.SetBlocked(id, reason, /*blocks_run=*/true);
    }
  }
}

}  // namespace grpo
