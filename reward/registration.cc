#include "reward/registration.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "common/version.h"
#include "common/wait_notice.h"

namespace grpo {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(5);
// A server that is stopped does not wait longer for a coordinator that does not answer.
constexpr absl::Duration kLeaveDeadline = absl::Seconds(1);

}  // namespace

Registration::Registration(std::shared_ptr<rpc::Client> coordinator, Announcement announcement)
    : coordinator_(std::move(coordinator)),
      stub_(v1::Coordinator::NewStub(coordinator_->channel())),
      announcement_(std::move(announcement)) {
  thread_ = StartThread("registering with the coordinator", [this] { Loop(); });
}

Registration::~Registration() {
  {
    MutexLock lock(&mutex_);
    leaving_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  thread_.join();
  if (ended()) return;
  const auto left = Announce(kLeaveDeadline, /*leaving=*/true);
  if (!left.ok()) spdlog::warn("the coordinator was not told that this server leaves: {}", left.status().ToString());
}

bool Registration::ended() const {
  MutexLock lock(&mutex_);
  return ended_;
}

absl::Status Registration::status() const {
  MutexLock lock(&mutex_);
  return status_;
}

void Registration::End(absl::Status why) {
  MutexLock lock(&mutex_);
  ended_ = true;
  status_ = std::move(why);
}

absl::StatusOr<v1::RegisterRewardServerResponse> Registration::Announce(absl::Duration deadline, bool leaving) {
  v1::RegisterRewardServerRequest request = announcement_();
  request.set_protocol_version(kProtocolVersion);
  request.set_build(kBuild);
  request.set_leaving(leaving);
  rpc::CallContext context(*coordinator_, deadline);
  {
    MutexLock lock(&mutex_);
    if (leaving_ && !leaving) return absl::CancelledError("this server is being stopped");
    context_ = &context;
  }
  v1::RegisterRewardServerResponse response;
  const grpc::Status status = context.Ended(stub_->RegisterRewardServer(&context, request, &response));
  MutexLock lock(&mutex_);
  context_ = nullptr;
  RETURN_IF_ERROR(rpc::FromGrpc(status));
  return response;
}

void Registration::Loop() {
  rpc::Backoff backoff;
  WaitNotice away;
  while (true) {
    const auto response = Announce(kCallDeadline, /*leaving=*/false);
    absl::Duration pause;
    if (response.ok()) {
      if (response->run_ended()) {
        spdlog::info("the run has ended");
        return End(absl::OkStatus());
      }
      if (away.End() || response->is_new())
        spdlog::info("registered with the coordinator at {}, run {} (epoch {})", coordinator_->address(),
                     response->run_id(), response->epoch());
      backoff.Reset();
      pause = absl::Milliseconds(std::max<int64_t>(1, response->heartbeat_interval_ms()));
    } else {
      if (rpc::IsRefusal(response.status())) {
        return End(Annotate(response.status(),
                            absl::StrCat("the coordinator at ", coordinator_->address(), " refused this server")));
      }
      const bool stopped = absl::IsCancelled(response.status());
      if (!stopped && away.Due())
        spdlog::warn("the coordinator at {} does not answer{}, trying again: {}", coordinator_->address(), away.For(),
                     response.status().ToString());
      pause = backoff.Next();
    }
    MutexLock lock(&mutex_);
    if (mutex_.AwaitFor([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return leaving_; }, pause)) return;
  }
}

}  // namespace grpo
