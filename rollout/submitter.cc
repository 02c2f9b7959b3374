#include "rollout/submitter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "common/utf8.h"

namespace grpo {
namespace {

// A group here waits for the network, hardly for a core: enough threads that the groups which end together do not queue
// up.
constexpr int kNumThreads = 4;
// More than anybody reads, and less than the coordinator takes.
constexpr size_t kMaxErrorBytes = 16 << 10;
constexpr absl::Duration kSubmitDeadline = absl::Seconds(60);

v1::SubmitHeader MakeHeader(const FinishedGroup& group, double score_seconds) {
  v1::SubmitHeader header;
  *header.mutable_key() = group.lease.key();
  header.set_policy_digest(group.policy_digest);
  header.mutable_prompt_ids()->Add(group.prompt_ids.begin(), group.prompt_ids.end());
  header.set_num_completions(static_cast<int32_t>(group.completions.size()));
  header.set_generate_seconds(group.generate_seconds);
  header.set_score_seconds(score_seconds);
  header.set_error(AsUtf8(group.error, kMaxErrorBytes));
  if (group.usage.num_requests() > 0) *header.mutable_usage() = group.usage;
  return header;
}

}  // namespace

Submitter::Submitter(Session* session, std::shared_ptr<rpc::Client> coordinator, std::unique_ptr<ScoreClient> scorer)
    : session_(session),
      coordinator_(std::move(coordinator)),
      stub_(v1::Coordinator::NewStub(coordinator_->channel())),
      scorer_(std::move(scorer)) {
  for (int i = 0; i < kNumThreads; ++i) threads_.push_back(StartThread("handing groups in", [this] { Loop(); }));
}

Submitter::~Submitter() {
  session_->End(absl::OkStatus());
  {
    MutexLock lock(&mutex_);
    closed_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void Submitter::Add(FinishedGroup group) {
  MutexLock lock(&mutex_);
  num_completions_ += group.completions.size();
  queue_.push_back(std::move(group));
}

bool Submitter::WaitBelow(int64_t bound, absl::Duration timeout) const {
  MutexLock lock(&mutex_);
  return mutex_.AwaitFor([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_completions_ < bound; }, timeout);
}

void Submitter::Loop() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closed_ || !queue_.empty(); };
  while (true) {
    FinishedGroup group;
    {
      MutexLock lock(&mutex_, has_work);
      if (closed_) return;
      group = std::move(queue_.front());
      queue_.pop_front();
    }
    Process(group);
    session_->Untrack(group.lease_id);
    MutexLock lock(&mutex_);
    num_completions_ -= group.completions.size();
  }
}

void Submitter::Process(const FinishedGroup& group) {
  if (!group.error.empty()) {
    spdlog::error("group {} cannot be produced: {}", LeaseName(group.lease.key()), group.error);
    SubmitUntilDone(group, {}, 0);
    return;
  }
  const absl::Duration started = Clock::Real().Now();
  const absl::StatusOr<std::vector<v1::Score>> scores = ScoreUntilDone(group);
  if (!scores.ok()) return;
  SubmitUntilDone(group, *scores, absl::ToDoubleSeconds(Clock::Real().Now() - started));
}

absl::StatusOr<std::vector<v1::Score>> Submitter::ScoreUntilDone(const FinishedGroup& group) {
  rpc::Backoff backoff;
  for (int64_t attempt = 1; !session_->ended() && session_->IsActive(group.lease_id); ++attempt) {
    // They come and go at any time.
    const absl::Status usable = scorer_->UseServers(session_->RewardServers());
    const int64_t num_servers = std::max<int64_t>(1, scorer_->num_servers());
    absl::StatusOr<std::vector<v1::Score>> scores =
        scorer_->Score(group.lease.reward(), group.lease.prompt(), group.completions);
    if (!scores.ok() && !usable.ok()) scores = usable;
    if (scores.ok()) {
      session_->ClearBlocked(group.lease_id);
      return scores;
    }
    // One server of several being away is no reason to wait.
    if (attempt % num_servers != 0) continue;
    if (attempt == num_servers && !session_->ended()) {
      spdlog::warn("group {} waits: {}", LeaseName(group.lease.key()), scores.status().ToString());
    }
    session_->SetBlocked(group.lease_id, std::string(scores.status().message()));
    session_->WaitForEnd(backoff.Next());
  }
  return absl::CancelledError("the lease is no longer this worker's");
}

void Submitter::SubmitUntilDone(const FinishedGroup& group, const std::vector<v1::Score>& scores,
                                double score_seconds) {
  v1::SubmitHeader header = MakeHeader(group, score_seconds);
  rpc::Backoff backoff;
  while (session_->IsActive(group.lease_id)) {
    header.set_worker_id(session_->WorkerId());
    if (session_->ended()) return;
    const absl::Status status = SubmitOnce(header, group, scores);
    if (status.ok()) return;
    if (absl::IsFailedPrecondition(status)) {
      spdlog::info("group {} was refused: {}", LeaseName(group.lease.key()), std::string(status.message()));
      return;
    }
    if (absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) {
      // Any worker of this build would be answered the same.
      session_->End(Annotate(status, absl::StrCat("submitting group ", LeaseName(group.lease.key()))));
      return;
    }
    session_->RegisterAgainIfUnknown(status, header.worker_id());
    session_->WaitForEnd(backoff.Next());
  }
}

absl::Status Submitter::SubmitOnce(v1::SubmitHeader header, const FinishedGroup& group,
                                   const std::vector<v1::Score>& scores) {
  RETURN_IF_ERROR(Failpoint("rollout.submit", LeaseName(group.lease.key())));
  rpc::CallContext context(*coordinator_, kSubmitDeadline);
  const InFlightCalls::Scope scope(&session_->calls(), &context);
  v1::SubmitCompletionResponse response;
  const auto writer = stub_->SubmitCompletion(&context, &response);
  v1::SubmitCompletionRequest request;
  *request.mutable_header() = std::move(header);
  // A failed write means that the stream broke; Finish says why.
  bool open = writer->Write(request);
  for (size_t i = 0; open && i < group.completions.size(); ++i) {
    *request.mutable_completion()->mutable_completion() = group.completions[i];
    *request.mutable_completion()->mutable_score() = scores[i];
    open = writer->Write(request);
  }
  writer->WritesDone();
  return rpc::FromGrpc(context.Ended(writer->Finish()));
}

}  // namespace grpo
