#include "rollout/worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

Session::Identity WithWeightChannels(Session::Identity identity) {
  identity.weight_channels = WeightChannelNames();
  return identity;
}

// How long an idle worker's lease call waits at the coordinator, and what the call may take on top of that.
constexpr absl::Duration kLongPoll = absl::Seconds(5);
constexpr absl::Duration kLeaseDeadline = absl::Seconds(5);
// After an empty answer a worker that is sampling leaves the coordinator alone for this long.
constexpr absl::Duration kBusyPause = absl::Milliseconds(20);
// Leases are taken for this share of the slots beyond what is running, so that a freed slot finds work at once; more
// would keep other workers idle at the end of a batch.
constexpr double kAheadFrac = 0.125;
// No further leases while this many times the slots wait to be scored: a reward server that is away must not collect
// the whole run here.
constexpr int64_t kMaxUnscoredPerSlot = 2;

}  // namespace

absl::StatusOr<std::unique_ptr<Worker>> Worker::Create(const WorkerOptions& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<rpc::Client> client, rpc::Client::Create(options.coordinator, options.client));
  ASSIGN_OR_RETURN(std::shared_ptr<rpc::Client> heartbeats, rpc::Client::Create(options.coordinator, options.client));
  std::unique_ptr<Worker> worker(new Worker(options, client, std::move(heartbeats)));
  auto scorer = std::make_unique<ScoreClient>(options.client, absl::Seconds(options.rollout.score_deadline_s),
                                              &worker->session_.calls());
  worker->submitter_ = std::make_unique<Submitter>(&worker->session_, std::move(client), std::move(scorer));
  worker->endpoints_ = std::make_unique<EndpointLane>(options.endpoints, &worker->session_, worker->submitter_.get());
  return worker;
}

Worker::Worker(const WorkerOptions& options, std::shared_ptr<rpc::Client> client,
               std::shared_ptr<rpc::Client> heartbeat_client)
    : options_(options),
      client_(std::move(client)),
      stub_(v1::Coordinator::NewStub(client_->channel())),
      session_(std::move(heartbeat_client), WithWeightChannels(options.identity)) {}

absl::Status Worker::Run() {
  session_.End(Loop());
  return session_.status();
}

void Worker::Stop() {
  session_.End(absl::AbortedError("stopped before the run's end"));
}

absl::Status Worker::Loop() {
  while (!session_.ended()) {
    DropLost();
    AskForLeases();
    RETURN_IF_ERROR(AdmitPending());
    const bool sampling = Sampling();
    if (sampling) RETURN_IF_ERROR(GenerateStep());
    // Endpoints answer by themselves; nothing is gained by looking all the time.
    if (!endpoints_->Step() && !endpoints_->idle() && !sampling) session_.WaitForEnd(kBusyPause);
  }
  return absl::OkStatus();
}

void Worker::DropLost() {
  for (const int64_t id : session_.TakeLost()) {
    if (running_.erase(id) > 0) generator_->Cancel(id);
    endpoints_->Cancel(id);
    std::erase_if(pending_, [id](const Job& job) { return job.id == id; });
  }
}

int64_t Worker::Room() const {
  // Pending leases are there only while they wait for other weights.
  if (!pending_.empty()) return 0;
  const int64_t slots = options_.rollout.slots;
  const int64_t unfinished = generator_ == nullptr ? 0 : generator_->num_unfinished();
  return std::max<int64_t>(0, slots + static_cast<int64_t>(kAheadFrac * slots) - unfinished);
}

void Worker::AskForLeases() {
  const int64_t room = Room(), endpoint_room = endpoints_->room();
  // While the generator is full, endpoints that have nothing under way wait for its next free slot: what is leased now
  // is most likely for weights.
  if (room == 0 && (endpoint_room == 0 || endpoints_->idle())) return;
  const bool idle = Idle();
  if (!submitter_->WaitBelow(kMaxUnscoredPerSlot * options_.rollout.slots, idle ? kBusyPause : absl::ZeroDuration()))
    return;
  if (const absl::Duration pause = next_lease_ - clock_.Now(); pause > absl::ZeroDuration()) {
    if (idle) session_.WaitForEnd(pause);
    return;
  }

  v1::LeaseGroupsRequest request;
  request.set_worker_id(session_.WorkerId());
  if (session_.ended()) return;
  request.set_max_groups(static_cast<int32_t>(room));
  request.set_max_completions(static_cast<int32_t>(room));
  request.set_max_endpoint_groups(static_cast<int32_t>(endpoint_room));
  const absl::Duration wait = idle ? kLongPoll : absl::ZeroDuration();
  request.set_wait_ms(absl::ToInt64Milliseconds(wait));
  rpc::CallContext context(*client_, wait + kLeaseDeadline);
  const InFlightCalls::Scope scope(&session_.calls(), &context);
  v1::LeaseGroupsResponse response;
  const absl::Status status = rpc::FromGrpc(context.Ended(stub_->LeaseGroups(&context, request, &response)));
  if (!status.ok()) {
    session_.RegisterAgainIfUnknown(status, request.worker_id());
    next_lease_ = clock_.Now() + lease_backoff_.Next();
    return;
  }
  lease_backoff_.Reset();
  if (response.run_ended()) {
    session_.RunEnded();
    return;
  }
  if (response.leases().empty()) next_lease_ = clock_.Now() + (idle ? absl::ZeroDuration() : kBusyPause);
  TakeLeases(std::move(response));
}

void Worker::TakeLeases(v1::LeaseGroupsResponse response) {
  for (v1::Lease& lease : *response.mutable_leases()) {
    Job job = {.id = next_id_++, .lease = std::move(lease)};
    session_.Track(job.id, job.lease.key());
    if (job.lease.endpoint()) {
      endpoints_->Add(std::move(job));
    } else {
      pending_.push_back(std::move(job));
    }
  }
}

absl::Status Worker::AdmitPending() {
  while (!pending_.empty() && !session_.ended()) {
    const Job& next = pending_.front();
    if (!Holds(next.lease.policy())) {
      if (generator_ != nullptr && !generator_->idle()) return absl::OkStatus();
      const absl::Status held = Hold(next);
      if (absl::IsInternal(held)) return held;
      if (!held.ok()) {
        Job job = std::move(pending_.front());
        pending_.pop_front();
        if (absl::IsNotFound(held) || absl::IsCancelled(held)) {
          // Not this group's fault: the lease expires, and the group is leased again with weights that are there.
          spdlog::info("group {} is dropped: {}", LeaseName(job.lease.key()), std::string(held.message()));
          session_.Untrack(job.id);
        } else {
          Fail(std::move(job), std::string(held.message()));
        }
        continue;
      }
    }
    Job job = std::move(pending_.front());
    pending_.pop_front();
    StartJob(std::move(job));
  }
  return absl::OkStatus();
}

bool Worker::Holds(const v1::PolicyRef& policy) const {
  return held_.has_value() && held_->manifest.policy().policy_id() == policy.policy_id() &&
         held_->manifest.policy().number() == policy.number();
}

absl::Status Worker::Hold(const Job& job) {
  absl::StatusOr<HeldPolicy> fetched = Fetch(job);
  if (!fetched.ok()) {
    // The weights that were held may be half overwritten.
    generator_.reset();
    held_.reset();
    return fetched.status();
  }
  held_ = *std::move(fetched);
  const absl::Status taken = generator_ == nullptr ? ResetGenerator() : generator_->SwapWeights(*held_);
  if (!taken.ok()) {
    generator_.reset();
    held_.reset();
    return taken;
  }
  const v1::WeightsManifest& manifest = held_->manifest;
  session_.SetHeld(manifest.policy(), manifest.digest());
  spdlog::info("holding version {} of policy {}, digest {}", manifest.policy().number(), manifest.policy().policy_id(),
               manifest.digest());
  return absl::OkStatus();
}

absl::StatusOr<HeldPolicy> Worker::Fetch(const Job& job) {
  const std::string name = session_.WeightChannelName();
  if (name.empty()) return absl::CancelledError("the session has ended");
  if (name != weight_channel_name_) {
    ASSIGN_OR_RETURN(weights_, MakeWeightChannel(name, client_, &session_, options_.device));
    weight_channel_name_ = name;
  }
  return weights_->Fetch(job.lease.policy(), job.id, held_ ? &*held_ : nullptr);
}

absl::Status Worker::ResetGenerator() {
  generator_.reset();  // before the new one allocates its memory
  num_tokens_told_ = 0;
  ASSIGN_OR_RETURN(generator_, options_.make_generator({.policy = *held_, .rollout = options_.rollout}));
  return absl::OkStatus();
}

void Worker::StartJob(Job job) {
  if (!session_.IsActive(job.id)) return;
  const absl::Status added = generator_->Add(ToGroupRequest(job));
  if (added.ok()) {
    const int64_t id = job.id;
    running_.emplace(id, std::move(job));
  } else {
    const std::string error = PromptError(job, added);
    Fail(std::move(job), error);
  }
}

absl::Status Worker::GenerateStep() {
  const v1::PolicyRef& policy = held_->manifest.policy();
  RETURN_IF_ERROR(Failpoint("rollout.decode",
                            absl::StrCat("policy ", policy.policy_id(), ":", policy.number(), ", ", running_.size(),
                                         " groups, ", generator_->num_tokens_generated(), " tokens so far")));
  absl::StatusOr<std::vector<SampledGroup>> whole = generator_->Step();
  session_.AddTokens(generator_->num_tokens_generated() - num_tokens_told_);
  num_tokens_told_ = generator_->num_tokens_generated();
  if (absl::IsInvalidArgument(whole.status())) {
    // The weights are at fault: any worker would see the same.
    const std::string error =
        absl::StrCat("policy ", held_->manifest.policy().policy_id(), ": ", whole.status().message(),
                     "; training has diverged: go back to an earlier checkpoint with a lower learning rate");
    for (auto& [id, job] : running_) Fail(std::move(job), error);
    running_.clear();
    return ResetGenerator();
  }
  RETURN_IF_ERROR(whole.status());
  for (SampledGroup& group : *whole) Finish(std::move(group));
  return absl::OkStatus();
}

void Worker::Finish(SampledGroup group) {
  Job job = std::move(running_.extract(group.id).mapped());
  submitter_->Add(ToFinishedGroup(std::move(job), std::move(group)));
}

void Worker::Fail(Job job, const std::string& error) {
  // Without the digest when it was the weights themselves that could not be used.
  std::string digest = Holds(job.lease.policy()) ? held_->manifest.digest() : "";
  submitter_->Add(ToFinishedGroup(std::move(job), {.policy_digest = std::move(digest), .error = error}));
}

}  // namespace grpo
