// Callers that were refused, counted by why and said in the log: an operator who sees the numbers grow has a process
// with wrong files, or somebody who should not be there.
#ifndef GRPO_COMMON_RPC_REFUSALS_H_
#define GRPO_COMMON_RPC_REFUSALS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace grpo::rpc {

// The first five show in the handshake, before anything that the caller sent is read.
enum class Refusal {
  kNoCertificate,
  // Signed by none of the authorities in tls_ca, self-signed, or not meant for callers.
  kUntrusted,
  kExpired,
  kNotYetValid,
  // It says itself that it belongs to another run.
  kOtherRun,
  kWrongRole,
  kMissingToken,
  kWrongToken,
};
inline constexpr size_t kNumRefusals = 8;

// "no_certificate", "untrusted_certificate", "expired_certificate", "not_yet_valid_certificate", "other_run",
// "wrong_role", "missing_token", "wrong_token".
absl::string_view RefusalName(Refusal refusal);

// Thread-safe.
class Refusals {
 public:
  // A line for one reason is followed by the next after this, however many were refused meanwhile.
  static constexpr absl::Duration kLogEvery = absl::Seconds(10);

  explicit Refusals(const Clock& clock) : clock_(clock) {}
  // Those of all servers of this process. Lives for ever.
  static Refusals& OfProcess();

  // `who` is what is known of the caller: its address, its certificate's names. `why` says what is wrong and what to
  // do. What they quote of others the log escapes.
  void Count(Refusal refusal, absl::string_view who, absl::string_view why);

  // By name; those above 0.
  std::map<std::string, int64_t> Counts() const;
  // grpo_refused_callers_total as Prometheus reads it, every reason included.
  std::string Metrics() const;

 private:
  struct Counter {
    int64_t total = 0;
    // Since the last line, which this one is no part of.
    int64_t unsaid = 0;
    absl::Duration said_at = -absl::InfiniteDuration();
  };

  const Clock& clock_;
  mutable Mutex mutex_;
  std::array<Counter, kNumRefusals> counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_REFUSALS_H_
