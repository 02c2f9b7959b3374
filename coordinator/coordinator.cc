#include "coordinator/coordinator.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "coordinator/handshake.h"
#include "coordinator/submission.h"

namespace grpo {
namespace {

std::string VersionName(absl::string_view policy_id, int64_t number) {
  return absl::StrCat("policy ", policy_id, " version ", number);
}

}  // namespace

Coordinator::Coordinator(CoordinatorOptions options, Identity identity, const Clock& clock)
    : options_(options),
      identity_(std::move(identity)),
      clock_(clock),
      leases_(identity_.epoch, {.ttl = absl::Seconds(options.lease_ttl_s),
                                .max_groups = options.max_buffered_groups,
                                .max_ready_bytes = options.max_buffered_bytes}),
      workers_(identity_.epoch, absl::Seconds(options.heartbeat_interval_s), clock.Now(),
               absl::Seconds(options.hand_in_within_s)),
      reward_servers_(absl::Seconds(options.heartbeat_interval_s)),
      weight_channels_(identity_.weight_channels) {}

void Coordinator::AddWeightChannel(std::string channel) {
  MutexLock lock(&mutex_);
  weight_channels_.insert(weight_channels_.begin(), std::move(channel));
}

void Coordinator::ExpectRules(std::map<std::string, std::vector<std::string>> rules) {
  MutexLock lock(&mutex_);
  reward_rules_ = std::move(rules);
}

LeaseTable& Coordinator::Leases() const {
  const absl::Duration now = clock_.Now();
  const auto is_dead = [&](const std::string& worker_id)
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return workers_.IsDeadWorking(worker_id, now); };
  leases_.Expire(now, is_dead);
  return leases_;
}

absl::Status Coordinator::Offer(const std::vector<v1::Lease>& groups) {
  // Before anybody works for it, not when the first result comes.
  for (const v1::Lease& group : groups) {
    ASSIGN_OR_RETURN(const Requirements required, RequirementsOf(group.kind()));
    if (!group.endpoint() || !required.ids) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("policy ", group.policy().policy_id(), " is only an address, and groups of kind ",
                     v1::LeaseKind_Name(group.kind()), " need token ids: sample a policy that has weights"));
  }
  MutexLock lock(&mutex_);
  return Leases().Offer(groups);
}

void Coordinator::Quarantine(const std::string& stage, int64_t group_index) {
  MutexLock lock(&mutex_);
  leases_.Quarantine(stage, group_index);
}

std::vector<QuarantinedGroup> Coordinator::TakeQuarantined() {
  MutexLock lock(&mutex_);
  return Leases().TakeQuarantined();
}

void Coordinator::SetLeasing(bool leasing) {
  MutexLock lock(&mutex_);
  leasing_ = leasing;
}

absl::StatusOr<std::vector<ScoredGroup>> Coordinator::Collect(const std::string& stage, int64_t first, int64_t count,
                                                              absl::Duration timeout) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(leases_.CheckCollectable(stage, first, count));
  Leases().Want(stage, first, count);
  // A group that is done stays so: the search goes on where it stopped.
  int64_t next = first;
  const auto done = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (next < first + count && leases_.IsDone(stage, next)) ++next;
    return ended_ || next >= first + count || !leases_.FindError(stage, first, count).ok();
  };
  const bool in_time = mutex_.AwaitFor(done, timeout);
  if (ended_) return absl::AbortedError("the run has ended, nothing more is collected");
  if (!in_time) {
    return absl::DeadlineExceededError(absl::StrCat("group ", next, " of stage \"", stage, "\" was not ready after ",
                                                    absl::FormatDuration(timeout),
                                                    ": see the workers' state, then wait again"));
  }
  return Leases().Collect(stage, first, count);
}

void Coordinator::Publish(std::shared_ptr<const WeightSource> weights, std::shared_ptr<const Vocabulary> vocabulary) {
  const v1::PolicyRef policy = weights->manifest().policy();
  // Freed after the lock is released.
  std::vector<std::shared_ptr<const WeightSource>> forgotten;
  MutexLock lock(&mutex_);
  digests_[policy.policy_id()][policy.number()] = weights->manifest().digest();
  vocabularies_[policy.policy_id()] = std::move(vocabulary);
  auto& kept = weights_[policy.policy_id()];
  kept[policy.number()].swap(weights);
  for (auto version = kept.begin(); version != kept.end();) {
    if (staleness_.MayHold(version->first, policy.number())) {
      ++version;
    } else {
      forgotten.push_back(std::move(version->second));
      version = kept.erase(version);
    }
  }
}

bool Coordinator::IsSamplable(const v1::Lease& group) const {
  const auto kept = weights_.find(group.policy().policy_id());
  return kept != weights_.end() && std::any_of(kept->second.begin(), kept->second.end(), [&](const auto& version) {
           return staleness_.MayHold(version.first, group.policy().number());
         });
}

bool Coordinator::MayAsk(const std::string& policy_id, const std::string& worker_id) const {
  const auto holder = endpoint_holders_.find(policy_id);
  return holder == endpoint_holders_.end() || holder->second == worker_id ||
         !workers_.IsLive(holder->second, clock_.Now());
}

bool Coordinator::MayBeGiven(const v1::Lease& group, const v1::LeaseGroupsRequest& request) const {
  if (group.endpoint())
    return request.max_endpoint_groups() > 0 && MayAsk(group.policy().policy_id(), request.worker_id());
  return request.max_groups() > 0 && IsSamplable(group);
}

std::string Coordinator::DigestOf(const v1::PolicyRef& policy) const {
  const auto digests = digests_.find(policy.policy_id());
  if (digests == digests_.end()) return "";
  const auto digest = digests->second.find(policy.number());
  return digest == digests->second.end() ? "" : digest->second;
}

Expected Coordinator::ExpectedOf(const v1::Lease& lease) const {
  Expected expected;
  const auto vocabulary = vocabularies_.find(lease.policy().policy_id());
  if (vocabulary != vocabularies_.end()) expected.vocabulary = vocabulary->second;
  const auto rules = reward_rules_.find(lease.reward().name());
  if (rules != reward_rules_.end()) expected.rules = rules->second;
  return expected;
}

void Coordinator::End() {
  MutexLock lock(&mutex_);
  ended_ = true;
}

absl::Status Coordinator::CheckHandshake(const v1::RegisterRequest& request) const {
  constexpr char kWho[] = "worker";
  RETURN_IF_ERROR(CheckProtocolAndRun(kWho, request, identity_.run_id));
  if (request.role() != "rollout_worker") return Mismatch(kWho, "role", request.role(), "for role rollout_worker");
  if (!request.config_sha256().empty() && request.config_sha256() != identity_.config_sha256) {
    return Mismatch(kWho, "config_sha256", request.config_sha256(), identity_.config_sha256);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::RegisterResponse> Coordinator::Register(const v1::RegisterRequest& request) {
  RETURN_IF_ERROR(CheckHandshake(request));
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const std::string weight_channel, PickWeightChannel(request, weight_channels_));
  LeaseTable& leases = Leases();
  const absl::Duration now = clock_.Now();
  ASSIGN_OR_RETURN(const WorkerTable::Admission admission, workers_.Register(request, now));
  // The process that held them is dead: nobody waits for its leases to run out.
  if (!admission.replaced_id.empty()) leases.Release(admission.replaced_id, admission.replaced_died_working);
  v1::RegisterResponse response;
  response.set_worker_id(admission.worker_id);
  response.set_epoch(identity_.epoch);
  response.set_run_id(identity_.run_id);
  response.set_heartbeat_interval_ms(absl::ToInt64Milliseconds(absl::Seconds(options_.heartbeat_interval_s)));
  for (std::string& address : reward_servers_.Addresses(now)) response.add_reward_servers(std::move(address));
  response.set_weight_channel(weight_channel);
  return response;
}

absl::StatusOr<v1::LeaseGroupsResponse> Coordinator::LeaseGroups(const v1::LeaseGroupsRequest& request) {
  if (request.max_groups() < 1 && request.max_endpoint_groups() < 1) {
    return absl::InvalidArgumentError(absl::StrCat("max_groups is ", request.max_groups(), ", ask for at least 1"));
  }
  const absl::Duration max_wait =
      std::clamp(absl::Milliseconds(request.wait_ms()), absl::ZeroDuration(), kMaxLeaseWait);
  const std::string& worker_id = request.worker_id();
  MutexLock lock(&mutex_);
  LeaseTable& leases = Leases();
  RETURN_IF_ERROR(workers_.Touch(worker_id, clock_.Now()));
  const bool passed_over = IsPassedOver(worker_id, clock_.Now());
  const auto may_be_given = [&](const v1::Lease& group)
                                ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return MayBeGiven(group, request); };
  const auto has_work = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ended_ || (leasing_ && !passed_over && leases.CanTake(worker_id, may_be_given));
  };
  // Nothing signals that a lease ran out, so the wait ends when the next one does. An empty answer before max_wait is
  // allowed: the worker asks again.
  mutex_.AwaitFor(has_work, std::min(max_wait, leases.NextExpiry() - clock_.Now()));
  v1::LeaseGroupsResponse response;
  if (ended_) {
    response.set_run_ended(true);
    return response;
  }
  // It may have been replaced or called from elsewhere while it waited.
  const absl::Duration now = clock_.Now();
  RETURN_IF_ERROR(workers_.Touch(worker_id, now));
  if (!leasing_ || passed_over) return response;
  for (v1::Lease& lease : TakeFor(request, now)) response.mutable_leases()->Add(std::move(lease));
  if (response.leases_size() > 0) workers_.NoteTaken(worker_id, now);
  return response;
}

bool Coordinator::IsPassedOver(const std::string& worker_id, absl::Duration now) {
  if (std::string notice = workers_.PassOverIfDue(worker_id, now); !notice.empty()) {
    Leases().Release(worker_id, /*died=*/false);
    notices_.push_back(std::move(notice));
  }
  return workers_.IsPassedOver(worker_id, now);
}

std::vector<v1::Lease> Coordinator::TakeFor(const v1::LeaseGroupsRequest& request, absl::Duration now) {
  const auto by_endpoint = [&](const v1::Lease& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return group.endpoint() && MayBeGiven(group, request);
  };
  const auto with_weights = [&](const v1::Lease& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !group.endpoint() && MayBeGiven(group, request);
  };
  const std::string& worker_id = request.worker_id();
  constexpr int64_t kAnyNumber = std::numeric_limits<int64_t>::max();
  std::vector<v1::Lease> taken = Leases().Take(worker_id, request.max_endpoint_groups(), kAnyNumber, now, by_endpoint);
  for (const v1::Lease& lease : taken) endpoint_holders_[lease.policy().policy_id()] = worker_id;
  if (!taken.empty()) return taken;
  return Leases().Take(worker_id, request.max_groups(), request.max_completions(), now, with_weights);
}

absl::StatusOr<const v1::Lease*> Coordinator::FindForSubmit(const v1::SubmitHeader& header) {
  const LeaseTable& leases = Leases();
  RETURN_IF_ERROR(workers_.Touch(header.worker_id(), clock_.Now()));
  const absl::StatusOr<const v1::Lease*> lease = leases.Find(header.worker_id(), header.key());
  if (!lease.ok()) {
    ++num_refused_total_;
    return Annotate(lease.status(), "key");
  }
  if (*lease == nullptr) ++num_duplicate_total_;
  return lease;
}

absl::StatusOr<v1::SubmitCompletionResponse> Coordinator::Submit(const v1::SubmitHeader& header,
                                                                 std::vector<v1::ScoredCompletion> completions) {
  v1::SubmitCompletionResponse duplicate;
  duplicate.set_result(v1::SUBMIT_RESULT_DUPLICATE);
  v1::Lease lease;
  std::string published_digest;
  Expected expected;
  {
    MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(const v1::Lease* const found, FindForSubmit(header));
    if (found == nullptr) return duplicate;
    lease = *found;
    published_digest = DigestOf(lease.policy());
    expected = ExpectedOf(lease);
  }
  // Megabytes are checked outside the lock, so the lease is looked up again after.
  if (absl::Status malformed = CheckSubmission(lease, published_digest, header, completions, expected, staleness_);
      !malformed.ok()) {
    MutexLock lock(&mutex_);
    ++num_refused_total_;
    return malformed;
  }
  std::sort(completions.begin(), completions.end(),
            [](const auto& a, const auto& b) { return a.completion().index() < b.completion().index(); });
  ScoredGroup group;
  group.prompt_ids.assign(header.prompt_ids().begin(), header.prompt_ids().end());
  group.completions = std::move(completions);
  group.generate_seconds = header.generate_seconds();
  group.score_seconds = header.score_seconds();
  group.usage = header.usage();
  int64_t num_bytes = 0;
  for (const v1::ScoredCompletion& scored : group.completions)
    num_bytes += static_cast<int64_t>(scored.SpaceUsedLong());

  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const v1::Lease* const found, FindForSubmit(header));
  if (found == nullptr) return duplicate;
  group.worker_name = workers_.NameOf(header.worker_id());
  if (header.error().empty()) {
    leases_.Accept(header.key(), std::move(group), num_bytes);
  } else {
    leases_.Fail(header.key(), absl::StrCat(header.error(), " (reported by ", group.worker_name, ")"));
  }
  workers_.NoteHandedIn(header.worker_id(), leases_.NumLeasedTo(header.worker_id()) > 0, clock_.Now());
  v1::SubmitCompletionResponse accepted;
  accepted.set_result(v1::SUBMIT_RESULT_ACCEPTED);
  return accepted;
}

absl::StatusOr<v1::HeartbeatResponse> Coordinator::Heartbeat(const v1::HeartbeatRequest& request) {
  MutexLock lock(&mutex_);
  LeaseTable& leases = Leases();
  const absl::Duration now = clock_.Now();
  RETURN_IF_ERROR(workers_.Heartbeat(request, now));
  v1::HeartbeatResponse response;
  response.set_run_ended(ended_);
  if (request.leaving()) {
    leases.Release(request.worker_id(), /*died=*/false);
    workers_.Remove(request.worker_id());
    return response;
  }
  const bool passed_over = IsPassedOver(request.worker_id(), now);
  for (const v1::LeaseKey& key : request.active()) {
    if (passed_over || !leases.Renew(request.worker_id(), key, now)) *response.add_lost() = key;
  }
  for (std::string& address : reward_servers_.Addresses(now)) response.add_reward_servers(std::move(address));
  return response;
}

absl::StatusOr<v1::RegisterRewardServerResponse> Coordinator::RegisterRewardServer(
    const v1::RegisterRewardServerRequest& request) {
  RETURN_IF_ERROR(CheckProtocolAndRun("reward server", request, identity_.run_id));
  v1::RegisterRewardServerResponse response;
  response.set_run_id(identity_.run_id);
  response.set_epoch(identity_.epoch);
  const absl::Duration interval = std::min(absl::Seconds(options_.heartbeat_interval_s), kMaxRewardServerInterval);
  response.set_heartbeat_interval_ms(absl::ToInt64Milliseconds(interval));
  MutexLock lock(&mutex_);
  response.set_run_ended(ended_);
  if (request.leaving()) {
    reward_servers_.Remove(request.name(), request.address());
    return response;
  }
  ASSIGN_OR_RETURN(const bool is_new, reward_servers_.Register(request, clock_.Now()));
  response.set_is_new(is_new);
  return response;
}

absl::StatusOr<std::shared_ptr<const WeightSource>> Coordinator::Weights(const v1::PolicyRef& policy) const {
  MutexLock lock(&mutex_);
  const auto kept = weights_.find(policy.policy_id());
  if (kept == weights_.end()) {
    return absl::NotFoundError(
        absl::StrCat(VersionName(policy.policy_id(), policy.number()), " was never published: lease again"));
  }
  const auto version = kept->second.find(policy.number());
  if (version == kept->second.end()) {
    return absl::NotFoundError(absl::StrCat(VersionName(policy.policy_id(), policy.number()),
                                            " is not kept, only version ", kept->second.rbegin()->first,
                                            " is: drop the leases that name it and lease again"));
  }
  return version->second;
}

}  // namespace grpo
