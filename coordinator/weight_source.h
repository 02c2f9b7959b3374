// One version of a policy as the bytes that its manifest describes, wherever they lie: in the tensors that are being
// trained, in memory, in a checkpoint. What is published, saved and loaded; nobody needs a copy of all of it.
//
//   reader (a transfer, a save)               owner of the bytes
//   Open                                      Retire: before they change
//     Read, Read, ...   <--- waits, a while ---   no new readers, waits for these, cuts off who is slow
//   end of the Reader                         the bytes change; a new version is a new WeightSource
#ifndef GRPO_COORDINATOR_WEIGHT_SOURCE_H_
#define GRPO_COORDINATOR_WEIGHT_SOURCE_H_

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/mutex.h"
#include "proto/types.pb.h"

namespace grpo {

// Thread-safe.
class WeightSource {
 public:
  explicit WeightSource(v1::WeightsManifest manifest) : manifest_(std::move(manifest)) {}
  virtual ~WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;

  const v1::WeightsManifest& manifest() const { return manifest_; }

  // Somebody who reads the payload, in as many calls as it likes and on as many threads. The source outlives it.
  class Reader {
   public:
    Reader(Reader&& other) noexcept : source_(std::exchange(other.source_, nullptr)) {}
    Reader& operator=(Reader&&) = delete;
    ~Reader();

    // Fills `out` with the payload's bytes from `offset` on. OutOfRange beyond its end; Unavailable when the owner
    // could wait no longer (ask for the newest version); errors of the place where the bytes lie. On an error `out`
    // holds anything.
    absl::Status Read(int64_t offset, absl::Span<char> out) const;

   private:
    friend class WeightSource;
    explicit Reader(const WeightSource* source) : source_(source) {}
    const WeightSource* source_;
  };

  // The bytes do not change while the reader is there, or Read says so. Unavailable once Retire was called. Never
  // waits.
  absl::StatusOr<Reader> Open() const;

  // The owner's call before the bytes change, for good: no further readers; waits until those that there are have
  // ended, `patience` at most, then cuts them off, whatever they are doing. Returns how long that took. A read that is
  // copying is waited for beyond `patience`, as long as the copy takes. Owners call it before they are destroyed or
  // change the bytes.
  absl::Duration Retire(absl::Duration patience);

 protected:
  // Fills `out` from `offset` on, within the payload. Called by any thread, several at a time, never after Retire. An
  // error is returned by Read as it is.
  virtual absl::Status Copy(int64_t offset, absl::Span<char> out) const = 0;

 private:
  // Unavailable, in words that name the version.
  absl::Status Gone() const;

  const v1::WeightsManifest manifest_;
  mutable Mutex mutex_;
  // No new readers; no further reads.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false, cut_off_ ABSL_GUARDED_BY(mutex_) = false;
  mutable int64_t num_readers_ ABSL_GUARDED_BY(mutex_) = 0;
  // Those that are inside Copy, which takes as long as copying its bytes does and waits for nobody.
  mutable int64_t num_copying_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_WEIGHT_SOURCE_H_
