#include "rollout/session.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "common/utf8.h"
#include "common/version.h"
#include "common/wait_notice.h"
#include "coordinator/weight_channels.h"

namespace grpo {
namespace {

constexpr size_t kMaxReasonBytes = 4096;
constexpr absl::Duration kCallDeadline = absl::Seconds(5);
// A worker that is stopped does not wait longer for a coordinator that does not answer.
constexpr absl::Duration kLeaveDeadline = absl::Seconds(1);
// Between heartbeats while no reward server is known: at a run's start they come a moment after the workers.
constexpr absl::Duration kImpatientInterval = absl::Milliseconds(250);

bool SameKey(const v1::LeaseKey& a, const v1::LeaseKey& b) {
  return a.group_index() == b.group_index() && a.attempt() == b.attempt() && a.epoch() == b.epoch() &&
         a.stage() == b.stage();
}

}  // namespace

std::string LeaseName(const v1::LeaseKey& key) {
  return absl::StrCat(key.stage(), "/", key.group_index(), " attempt ", key.attempt(), " epoch ", key.epoch());
}

Session::Session(std::shared_ptr<rpc::Client> client, Identity identity)
    : client_(std::move(client)), stub_(v1::Coordinator::NewStub(client_->channel())), identity_(std::move(identity)) {
  thread_ = StartThread("the heartbeat", [this] { Loop(); });
}

Session::~Session() {
  End(absl::OkStatus());
  thread_.join();
}

std::string Session::WorkerId() {
  MutexLock lock(&mutex_, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return EndedOrRegistered(); });
  return ended_ ? "" : worker_id_;
}

std::string Session::WeightChannelName() {
  MutexLock lock(&mutex_, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return EndedOrRegistered(); });
  return ended_ ? "" : weight_channel_;
}

bool Session::RegisterAgainIfUnknown(const absl::Status& answer, const std::string& worker_id) {
  if (!absl::IsNotFound(answer) && !absl::IsUnauthenticated(answer)) return false;
  MutexLock lock(&mutex_);
  // Somebody else may have met the same answer before, and the thread may have registered since.
  if (worker_id_ == worker_id) {
    worker_id_.clear();
    wake_ = true;
  }
  return true;
}

void Session::End(absl::Status why) {
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    status_ = std::move(why);
  }
  calls_.CancelAll();
}

void Session::RunEnded() {
  spdlog::info("the run has ended");
  End(absl::OkStatus());
}

bool Session::ended() const {
  MutexLock lock(&mutex_);
  return ended_;
}

bool Session::WaitForEnd(absl::Duration timeout) const {
  MutexLock lock(&mutex_);
  return mutex_.AwaitFor([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; }, timeout);
}

absl::Status Session::status() const {
  MutexLock lock(&mutex_);
  return status_;
}

void Session::Track(int64_t id, const v1::LeaseKey& key) {
  MutexLock lock(&mutex_);
  active_[id] = key;
}

void Session::Untrack(int64_t id) {
  MutexLock lock(&mutex_);
  active_.erase(id);
  if (blocked_.erase(id) > 0 && blocked_.empty()) wake_ = true;
}

bool Session::IsActive(int64_t id) const {
  MutexLock lock(&mutex_);
  return active_.contains(id);
}

std::vector<int64_t> Session::TakeLost() {
  MutexLock lock(&mutex_);
  return std::exchange(lost_, {});
}

void Session::SetBlocked(int64_t id, const std::string& reason, bool blocks_run) {
  MutexLock lock(&mutex_);
  if (!active_.contains(id)) return;
  if (blocked_.empty()) wake_ = true;
  const auto [blocked, added] = blocked_.try_emplace(id);
  // Others' words may be in it, of any length and any bytes; a heartbeat must be readable.
  blocked->second.reason = AsUtf8(reason, kMaxReasonBytes);
  blocked->second.blocks_run = blocks_run;
  if (added) blocked->second.since = Clock::Real().Now();
}

void Session::ClearBlocked(int64_t id) {
  MutexLock lock(&mutex_);
  if (blocked_.erase(id) > 0 && blocked_.empty()) wake_ = true;
}

std::vector<std::string> Session::RewardServers() const {
  MutexLock lock(&mutex_);
  return reward_servers_;
}

absl::Duration Session::Interval() const {
  return reward_servers_.empty() ? std::min(interval_, kImpatientInterval) : interval_;
}

void Session::SetHeld(const v1::PolicyRef& policy, const std::string& digest) {
  MutexLock lock(&mutex_);
  held_policy_ = policy;
  held_digest_ = digest;
}

void Session::AddTokens(int64_t count) {
  MutexLock lock(&mutex_);
  num_tokens_ += count;
}

void Session::Loop() {
  rpc::Backoff backoff;
  WaitNotice away;
  while (!ended()) {
    bool registered;
    {
      MutexLock lock(&mutex_);
      registered = !worker_id_.empty();
      wake_ = false;
    }
    const absl::Status status = registered ? Heartbeat() : Register();
    if (status.ok()) {
      if (away.End()) spdlog::info("the coordinator at {} answers again", client_->address());
      backoff.Reset();
      MutexLock lock(&mutex_);
      mutex_.AwaitFor([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || wake_; }, Interval());
      continue;
    }
    if (!registered && rpc::IsRefusal(status)) {
      End(Annotate(status, absl::StrCat("the coordinator at ", client_->address(), " refused this worker")));
      return;
    }
    if (!ended() && away.Due())
      spdlog::warn("the coordinator at {} does not answer{}, trying again: {}", client_->address(), away.For(),
                   status.ToString());
    WaitForEnd(backoff.Next());
  }
  if (absl::IsAborted(status())) Leave();
}

absl::Status Session::Register() {
  v1::RegisterRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_build(kBuild);
  request.set_run_id(identity_.run_id);
  request.set_config_sha256(identity_.config_sha256);
  request.set_role("rollout_worker");
  request.set_worker_name(identity_.worker_name);
  request.set_worker_attempt(identity_.worker_attempt);
  for (const std::string& channel : identity_.weight_channels) request.add_weight_channels(channel);
  rpc::CallContext context(*client_, kCallDeadline);
  const InFlightCalls::Scope scope(&calls_, &context);
  v1::RegisterResponse response;
  RETURN_IF_ERROR(rpc::FromGrpc(context.Ended(stub_->Register(&context, request, &response))));
  if (response.worker_id().empty()) return absl::InternalError("the coordinator answered Register without a worker_id");
  const std::string channel = response.weight_channel().empty() ? "grpc" : response.weight_channel();
  if (absl::c_find(identity_.weight_channels, ChannelName(channel)) == identity_.weight_channels.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator picked the weight channel ", channel, ", this worker offered ",
                     absl::StrJoin(identity_.weight_channels, ", "), ": start both with the same build"));
  }
  spdlog::info("registered as {} in run {} (epoch {}), weights by {}", response.worker_id(), response.run_id(),
               response.epoch(), channel);
  MutexLock lock(&mutex_);
  worker_id_ = response.worker_id();
  weight_channel_ = channel;
  interval_ = absl::Milliseconds(std::max<int64_t>(1, response.heartbeat_interval_ms()));
  TakeRewardServers(response);
  return absl::OkStatus();
}

v1::HeartbeatRequest Session::MakeHeartbeat() const {
  v1::HeartbeatRequest request;
  MutexLock lock(&mutex_);
  request.set_worker_id(worker_id_);
  for (const auto& [id, key] : active_) *request.add_active() = key;
  if (!held_digest_.empty()) *request.mutable_held_policy() = held_policy_;
  request.set_held_digest(held_digest_);
  request.set_num_tokens_generated(num_tokens_);
  const auto oldest = std::min_element(blocked_.begin(), blocked_.end(), [](const auto& a, const auto& b) {
    if (a.second.blocks_run != b.second.blocks_run) return a.second.blocks_run;
    return a.second.since < b.second.since;
  });
  if (oldest != blocked_.end()) {
    request.set_blocked_reason(oldest->second.reason);
    request.set_blocks_run(oldest->second.blocks_run);
    request.set_blocked_for_ms(absl::ToInt64Milliseconds(Clock::Real().Now() - oldest->second.since));
  }
  return request;
}

void Session::Leave() {
  v1::HeartbeatRequest request = MakeHeartbeat();
  if (request.worker_id().empty()) return;
  request.set_leaving(true);
  // Not among calls_: those are cancelled.
  rpc::CallContext context(*client_, kLeaveDeadline);
  v1::HeartbeatResponse response;
  const absl::Status left = rpc::FromGrpc(context.Ended(stub_->Heartbeat(&context, request, &response)));
  if (!left.ok()) spdlog::warn("the coordinator was not told that this worker leaves: {}", left.ToString());
}

absl::Status Session::Heartbeat() {
  const v1::HeartbeatRequest request = MakeHeartbeat();
  rpc::CallContext context(*client_, kCallDeadline);
  const InFlightCalls::Scope scope(&calls_, &context);
  v1::HeartbeatResponse response;
  const absl::Status status = rpc::FromGrpc(context.Ended(stub_->Heartbeat(&context, request, &response)));
  if (RegisterAgainIfUnknown(status, request.worker_id())) return absl::OkStatus();  // the loop does at once
  RETURN_IF_ERROR(status);
  if (response.run_ended()) {
    RunEnded();
    return absl::OkStatus();
  }
  MutexLock lock(&mutex_);
  TakeRewardServers(response);
  for (const v1::LeaseKey& key : response.lost()) {
    const auto lost =
        std::find_if(active_.begin(), active_.end(), [&](const auto& entry) { return SameKey(entry.second, key); });
    if (lost == active_.end()) continue;
    spdlog::info("lease {} is no longer this worker's", LeaseName(key));
    lost_.push_back(lost->first);
    blocked_.erase(lost->first);
    active_.erase(lost);
  }
  return absl::OkStatus();
}

}  // namespace grpo
