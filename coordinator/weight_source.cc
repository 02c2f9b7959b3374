#include "coordinator/weight_source.h"

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace grpo {

WeightSource::Reader::~Reader() {
  if (source_ == nullptr) return;
  MutexLock lock(&source_->mutex_);
  --source_->num_readers_;
}

absl::Status WeightSource::Reader::Read(int64_t offset, absl::Span<char> out) const {
  const int64_t size = source_->manifest_.payload_bytes(), wanted = static_cast<int64_t>(out.size());
  if (offset < 0 || offset > size || wanted > size - offset) {
    return absl::OutOfRangeError(
        absl::StrCat(wanted, " bytes at ", offset, " are not all within the payload of ", size, " bytes"));
  }
  {
    MutexLock lock(&source_->mutex_);
    if (source_->cut_off_) return source_->Gone();
    ++source_->num_copying_;
  }
  const absl::Status copied = source_->Copy(offset, out);
  MutexLock lock(&source_->mutex_);
  --source_->num_copying_;
  return copied;
}

absl::Status WeightSource::Gone() const {
  return absl::UnavailableError(absl::StrCat("version ", manifest_.policy().number(), " of policy ",
                                             manifest_.policy().policy_id(),
                                             " is being trained on: pull the version that follows"));
}

absl::StatusOr<WeightSource::Reader> WeightSource::Open() const {
  MutexLock lock(&mutex_);
  if (closed_) return Gone();
  ++num_readers_;
  return Reader(this);
}

absl::Duration WeightSource::Retire(absl::Duration patience) {
  const absl::Duration started = Clock::Real().Now();
  MutexLock lock(&mutex_);
  closed_ = true;
  mutex_.AwaitFor([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_readers_ == 0; }, patience);
  cut_off_ = true;
  mutex_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_copying_ == 0; });
  return Clock::Real().Now() - started;
}

}  // namespace grpo
