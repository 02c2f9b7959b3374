#include "tools/grpoctl/client/status_stream.h"

#include <utility>

#include "common/exit_codes.h"
#include "common/thread.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

// Deadline of one WatchStatus call.
constexpr absl::Duration kRenewAfter = absl::Minutes(10);
constexpr absl::Duration kInterval = absl::Milliseconds(200);
constexpr absl::Duration kRetryAfter = absl::Milliseconds(500);

}  // namespace

absl::Status StatusStream::Read(absl::Duration min_interval,
                                const std::function<void(const v1::RunStatus&)>& on_status) {
  v1::WatchStatusRequest request;
  request.set_min_interval_ms(absl::ToInt64Milliseconds(min_interval));
  while (true) {
    rpc::CallContext context(*connection_.client, kRenewAfter);
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return absl::CancelledError("cancelled");
      context_ = &context;
    }
    const auto reader = connection_.stub->WatchStatus(&context, request);
    v1::RunStatus status;
    bool ended = false;
    while (reader->Read(&status)) {
      on_status(status);
      ended = IsTerminal(status.state());
    }
    const grpc::Status result = context.Ended(reader->Finish());
    absl::MutexLock lock(&mutex_);
    context_ = nullptr;
    if (ended) return absl::OkStatus();
    if (cancelled_) return absl::CancelledError("cancelled");
    if (result.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED && !result.ok()) return connection_.Explain(result);
    if (result.ok()) return absl::UnavailableError("the trainer ended the status stream before the run had ended");
  }
}

void StatusStream::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

BackgroundStatus::BackgroundStatus(TrainerConnection connection)
    : connection_(std::move(connection)),
      stream_(connection_),
      thread_(StartThread("reading the status", [this] { Run(); })) {}

BackgroundStatus::~BackgroundStatus() {
  ending_.Notify();
  stream_.Cancel();
  thread_.join();
}

void BackgroundStatus::Run() {
  absl::Status ended;
  do {
    ended = stream_.Read(kInterval, [this](const v1::RunStatus& status) {
      absl::MutexLock lock(&mutex_);
      newest_ = status;
    });
  } while (!ended.ok() && !ending_.WaitFor(kRetryAfter));
}

std::optional<v1::RunStatus> BackgroundStatus::Take() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(newest_, std::nullopt);
}

int ExitCodeOf(v1::RunState state) {
  switch (state) {
    case v1::RUN_STATE_FINISHED:
      return kExitOk;
    case v1::RUN_STATE_STOPPED:
      return kExitRetry;
    default:
      return kExitRunFailed;
  }
}

}  // namespace grpo
