#include "reward/score_stream.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/failpoint.h"
#include "common/rpc/check_message.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "reward/service.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;
using Reactor = grpc::ServerBidiReactor<v1::ScoreRequest, v1::ScoreResponse>;

// Share of a call's time that is kept for bringing the answers home, and its upper bound.
constexpr int kReserveShare = 10;
constexpr steady_clock::duration kMaxReserve = std::chrono::seconds(1);
// A call without a deadline gets this one.
constexpr steady_clock::duration kLongestCall = std::chrono::hours(1);
// A stream with so much unscored is read no further.
constexpr int64_t kMaxUnscored = 1024, kMaxUnscoredBytes = 16 << 20;
// What one group may hold where all of it must be there before any is answered.
constexpr int64_t kMaxGroup = 65536, kMaxGroupBytes = 256 << 20;

// When scoring for a call must be over.
steady_clock::time_point GiveUpAt(const grpc::CallbackServerContext& context) {
  const auto left = std::min<steady_clock::duration>(absl::ToChronoNanoseconds(rpc::TimeLeft(context)), kLongestCall);
  return steady_clock::now() + left - std::min(left / kReserveShare, kMaxReserve);
}

// gRPC calls the On... methods, one read and one write at a time; the pool's threads call the rest. What they share is
// Call, which a rule that never returns keeps alive beyond the stream.
class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(RewardServiceImpl& service, Reactor* reactor, steady_clock::time_point give_up_at)
      : service_(service), give_up_at_(give_up_at), reactor_(reactor) {}

  // Whether another message may be read now; if not, the reading goes on by itself.
  bool Take(v1::ScoreRequest& request);
  // The caller has sent all.
  void ReadAll();
  void Wrote(bool ok);
  // Whatever is not answered by now is not scored any more.
  void GiveUp();
  void Finish(const absl::Status& status);
  // The stream is gone.
  void Detach();
  v1::ScoreRequest& request() { return request_; }
  // Runs one of the above, or a part of it, and ends the call with what it throws.
  template <typename Body>
  void EndOnThrow(Body&& body) {
    try {
      body();
    } catch (...) {
      Finish(absl::InternalError(WhatWasThrown()));
    }
  }

 private:
  struct Item {
    v1::CompletionToScore completion;
    v1::Score score;
    bool scored = false, answered = false;
  };
  using ItemPointer = std::shared_ptr<Item>;

  absl::Status TakeLocked(v1::ScoreRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Schedule(const ItemPointer& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RuleInput InputOf(const Item& item, steady_clock::time_point give_up_at) const;
  // Time for one completion.
  steady_clock::duration ItemLimit() const {
    return std::chrono::duration_cast<steady_clock::duration>(
        std::chrono::duration<double>(service_.options().item_deadline_s));
  }
  void Score(const ItemPointer& item);
  void ScoreGroup();
  void Late(const ItemPointer& item);
  bool Dropped(const Item& item) const;
  // The item's rules about it alone are done.
  void Scored(Item& item, v1::Score score) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Answer(Item& item, v1::Score score) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whatever can be done now: go on reading, score the group, write, finish.
  void Proceed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Full() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return num_unscored_ >= kMaxUnscored || unscored_bytes_ >= kMaxUnscoredBytes;
  }

  RewardServiceImpl& service_;
  const steady_clock::time_point give_up_at_;
  // Touched by the read in flight alone.
  v1::ScoreRequest request_;
  // Set by the first message, before any item.
  std::shared_ptr<const RewardProfile> profile_;
  v1::ScoreHeader header_;

  mutable absl::Mutex mutex_;
  Reactor* reactor_ ABSL_GUARDED_BY(mutex_);
  std::optional<ScoringPool::Timer> timer_ ABSL_GUARDED_BY(mutex_);
  // For rules about the group: all of it. Otherwise those that are not answered.
  std::vector<ItemPointer> items_ ABSL_GUARDED_BY(mutex_);
  int64_t num_unscored_ ABSL_GUARDED_BY(mutex_) = 0, unscored_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_unanswered_ ABSL_GUARDED_BY(mutex_) = 0, group_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The front is being written while `writing_`.
  std::deque<v1::ScoreResponse> responses_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_all_ ABSL_GUARDED_BY(mutex_) = false, reading_paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool group_scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  bool gave_up_ ABSL_GUARDED_BY(mutex_) = false;
  // What the call ends with; Finish is sent once nothing is being written.
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

bool Call::Take(v1::ScoreRequest& request) {
  absl::MutexLock lock(&mutex_);
  if (status_.has_value()) return false;
  const absl::Status taken = TakeLocked(request);
  if (!taken.ok()) {
    status_ = taken;
    Proceed();
    return false;
  }
  reading_paused_ = Full();
  return !reading_paused_;
}

absl::Status Call::TakeLocked(v1::ScoreRequest& request) {
  RETURN_IF_ERROR(rpc::CheckMessage(request));
  if (profile_ == nullptr) {
    if (!request.has_header()) {
      return absl::InvalidArgumentError("a Score stream begins with a header: send ScoreRequest.header first");
    }
    header_ = std::move(*request.mutable_header());
    RETURN_IF_ERROR(service_.Admit());
    ASSIGN_OR_RETURN(profile_, service_.FindProfile(header_.profile()));
    timer_ = service_.pool().CallAt(give_up_at_, [weak = weak_from_this()] {
      if (const std::shared_ptr<Call> call = weak.lock()) call->GiveUp();
    });
    return absl::OkStatus();
  }
  if (!request.has_completion()) {
    return absl::InvalidArgumentError(
        "a Score stream holds one header and then completions only: open a stream per group");
  }
  RETURN_IF_ERROR(Failpoint(
      "reward.score", absl::StrCat("prompt ", header_.prompt().id(), ", completion ", request.completion().index())));
  const int64_t bytes = static_cast<int64_t>(request.ByteSizeLong());
  if (profile_->needs_group() &&
      (static_cast<int64_t>(items_.size()) >= kMaxGroup || (group_bytes_ += bytes) > kMaxGroupBytes)) {
    return absl::InvalidArgumentError(absl::StrCat("a group of more than ", kMaxGroup, " completions or ",
                                                   kMaxGroupBytes, " bytes cannot be compared: send smaller groups"));
  }
  auto item = std::make_shared<Item>();
  item->completion = std::move(*request.mutable_completion());
  items_.push_back(item);
  ++num_unscored_;
  ++num_unanswered_;
  unscored_bytes_ += static_cast<int64_t>(item->completion.ByteSizeLong());
  if (gave_up_) {
    Answer(*item, profile_->Unscored(v1::OUTCOME_DEADLINE));
    Proceed();
  } else {
    Schedule(item);
  }
  return absl::OkStatus();
}

void Call::Schedule(const ItemPointer& item) {
  const auto self = shared_from_this();
  service_.pool().Add([self, item] { self->EndOnThrow([&] { self->Score(item); }); }, ItemLimit(),
                      [self, item] { self->EndOnThrow([&] { self->Late(item); }); });
}

RuleInput Call::InputOf(const Item& item, steady_clock::time_point give_up_at) const {
  return {.completion = item.completion.text(),
          .prompt = header_.prompt(),
          .explain = header_.explain(),
          .ids = item.completion.ids(),
          .give_up_at = give_up_at};
}

bool Call::Dropped(const Item& item) const {
  absl::MutexLock lock(&mutex_);
  return item.answered || finished_ || reactor_ == nullptr;
}

void Call::Score(const ItemPointer& item) {
  if (Dropped(*item)) return;
  const auto begin = steady_clock::now();
  std::string unavailable;
  v1::Score score = profile_->ScoreAlone(InputOf(*item, std::min(give_up_at_, begin + ItemLimit())), &unavailable);
  if (steady_clock::now() - begin > ScoringPool::kPatience) ScoringPool::RestorePriority();
  absl::MutexLock lock(&mutex_);
  if (!unavailable.empty()) {
    if (!status_.has_value()) status_ = absl::UnavailableError(unavailable);
  } else if (!item->answered && !item->scored) {
    Scored(*item, std::move(score));
  }
  Proceed();
}

void Call::Late(const ItemPointer& item) {
  absl::MutexLock lock(&mutex_);
  if (item->answered || item->scored) return;
  Scored(*item, profile_->Unscored(v1::OUTCOME_DEADLINE));
  Proceed();
}

void Call::Scored(Item& item, v1::Score score) {
  item.scored = true;
  if (!profile_->needs_group()) return Answer(item, std::move(score));
  item.score = std::move(score);
  --num_unscored_;
  unscored_bytes_ -= static_cast<int64_t>(item.completion.ByteSizeLong());
}

void Call::Answer(Item& item, v1::Score score) {
  if (!profile_->needs_group() || !item.scored) {
    --num_unscored_;
    unscored_bytes_ -= static_cast<int64_t>(item.completion.ByteSizeLong());
  }
  item.scored = item.answered = true;
  --num_unanswered_;
  v1::ScoreResponse response;
  response.set_index(item.completion.index());
  *response.mutable_score() = std::move(score);
  responses_.push_back(std::move(response));
}

void Call::ScoreGroup() {
  std::vector<ItemPointer> items;
  {
    absl::MutexLock lock(&mutex_);
    items = items_;
  }
  std::vector<RuleInput> inputs;
  std::vector<v1::Score> scores;
  for (const ItemPointer& item : items) {
    inputs.push_back(InputOf(*item, give_up_at_));
    scores.push_back(item->score);
  }
  std::string unavailable;
  if (!items.empty()) profile_->FinishGroup(inputs, absl::MakeSpan(scores), &unavailable);
  absl::MutexLock lock(&mutex_);
  if (!unavailable.empty() && !status_.has_value()) status_ = absl::UnavailableError(unavailable);
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i]->answered) Answer(*items[i], std::move(scores[i]));
  }
  Proceed();
}

void Call::ReadAll() {
  absl::MutexLock lock(&mutex_);
  read_all_ = true;
  if (profile_ == nullptr && !status_.has_value()) {
    status_ = absl::InvalidArgumentError("a Score stream begins with a header: send ScoreRequest.header first");
  }
  Proceed();
}

void Call::Wrote(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  responses_.pop_front();
  if (!ok && !status_.has_value()) status_ = absl::CancelledError("the caller went away");
  Proceed();
}

void Call::GiveUp() {
  absl::MutexLock lock(&mutex_);
  gave_up_ = true;
  for (const ItemPointer& item : items_) {
    if (!item->answered) Answer(*item, profile_->Unscored(v1::OUTCOME_DEADLINE));
  }
  Proceed();
}

void Call::Finish(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!status_.has_value()) status_ = status;
  Proceed();
}

void Call::Detach() {
  absl::MutexLock lock(&mutex_);
  reactor_ = nullptr;
  items_.clear();
  if (timer_.has_value()) service_.pool().Cancel(*timer_);
}

void Call::Proceed() {
  if (reactor_ == nullptr || finished_) return;
  const bool group = profile_ != nullptr && profile_->needs_group();
  if (!group && items_.size() > 2 * static_cast<size_t>(num_unanswered_) + 64) {
    items_.erase(std::remove_if(items_.begin(), items_.end(), [](const ItemPointer& item) { return item->answered; }),
                 items_.end());
  }
  if (group && read_all_ && num_unscored_ == 0 && !group_scheduled_ && !status_.has_value()) {
    group_scheduled_ = true;
    const auto self = shared_from_this();
    service_.pool().Add([self] { self->EndOnThrow([&] { self->ScoreGroup(); }); }, kLongestCall, nullptr);
  }
  if (writing_) return;
  if (!status_.has_value() && read_all_ && num_unanswered_ == 0 && responses_.empty()) status_ = absl::OkStatus();
  if (status_.has_value()) {
    finished_ = true;
    reactor_->Finish(rpc::ToGrpc(*status_));
    return;
  }
  if (!responses_.empty()) {
    writing_ = true;
    reactor_->StartWrite(&responses_.front());
  }
  if (reading_paused_ && !Full()) {
    reading_paused_ = false;
    reactor_->StartRead(&request_);
  }
}

class ScoreStream final : public Reactor {
 public:
  ScoreStream(RewardServiceImpl& service, const grpc::CallbackServerContext& context)
      : call_(std::make_shared<Call>(service, this, GiveUpAt(context))) {
    const absl::Status allowed = rpc::CheckToken(context);
    if (allowed.ok()) {
      StartRead(&call_->request());
    } else {
      call_->Finish(allowed);
    }
  }

  void OnReadDone(bool ok) override {
    call_->EndOnThrow([&] {
      if (!ok) {
        call_->ReadAll();
      } else if (call_->Take(call_->request())) {
        StartRead(&call_->request());
      }
    });
  }
  void OnWriteDone(bool ok) override {
    call_->EndOnThrow([&] { call_->Wrote(ok); });
  }
  void OnCancel() override { call_->Finish(absl::CancelledError("the caller went away")); }
  void OnDone() override {
    call_->Detach();
    delete this;
  }

 private:
  const std::shared_ptr<Call> call_;
};

}  // namespace

Reactor* NewScoreStream(RewardServiceImpl& service, const grpc::CallbackServerContext& context) {
  return new ScoreStream(service, context);
}

}  // namespace grpo
