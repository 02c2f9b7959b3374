#include "common/rpc/refusals.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"

namespace grpo::rpc {

absl::string_view RefusalName(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNoCertificate:
      return "no_certificate";
    case Refusal::kUntrusted:
      return "untrusted_certificate";
    case Refusal::kExpired:
      return "expired_certificate";
    case Refusal::kNotYetValid:
      return "not_yet_valid_certificate";
    case Refusal::kOtherRun:
      return "other_run";
    case Refusal::kWrongRole:
      return "wrong_role";
    case Refusal::kMissingToken:
      return "missing_token";
    case Refusal::kWrongToken:
      return "wrong_token";
  }
  return "";
}

Refusals& Refusals::OfProcess() {
  static auto* const refusals = new Refusals(Clock::Real());
  return *refusals;
}

void Refusals::Count(Refusal refusal, absl::string_view who, absl::string_view why) {
  const absl::Duration now = clock_.Now();
  int64_t unsaid = 0;
  {
    const MutexLock lock(&mutex_);
    Counter& counter = counters_[static_cast<size_t>(refusal)];
    ++counter.total;
    if (now - counter.said_at < kLogEvery) {
      ++counter.unsaid;
      return;
    }
    counter.said_at = now;
    unsaid = std::exchange(counter.unsaid, 0);
  }
  spdlog::warn("refused {} ({}): {}{}", std::string(who), std::string(RefusalName(refusal)), std::string(why),
               unsaid == 0 ? "" : absl::StrCat("; ", unsaid, " more for this reason since the last such line"));
}

std::map<std::string, int64_t> Refusals::Counts() const {
  std::map<std::string, int64_t> counts;
  const MutexLock lock(&mutex_);
  for (size_t i = 0; i < kNumRefusals; ++i) {
    if (counters_[i].total > 0) counts[std::string(RefusalName(static_cast<Refusal>(i)))] = counters_[i].total;
  }
  return counts;
}

std::string Refusals::Metrics() const {
  std::string text =
      "# HELP grpo_refused_callers_total Callers that this process refused, by why.\n"
      "# TYPE grpo_refused_callers_total counter\n";
  const MutexLock lock(&mutex_);
  for (size_t i = 0; i < kNumRefusals; ++i) {
    absl::StrAppend(&text, "grpo_refused_callers_total{reason=\"", RefusalName(static_cast<Refusal>(i)), "\"} ",
                    counters_[i].total, "\n");
  }
  return text;
}

}  // namespace grpo::rpc
