// The reference answers that a profile's rules cannot read, counted: the same count in `grpoctl validate`, at a run's
// start and in `grpoctl reward audit`. Links no torch.
#ifndef GRPO_TRAINER_REFERENCES_H_
#define GRPO_TRAINER_REFERENCES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/source.h"
#include "reward/profile.h"

namespace grpo {

// An endless source is checked by so many of its items.
inline constexpr int64_t kEndlessSourceSample = 1000;

// One thread.
class ReferenceAudit {
 public:
  // `profile` outlives this.
  explicit ReferenceAudit(const RewardProfile& profile) : profile_(profile) {}

  // Why the rules cannot read the problem's answer; OK when they can.
  absl::Status Add(const v1::Prompt& prompt);

  int64_t num_answers() const { return num_answers_; }
  int64_t num_unreadable() const { return num_unreadable_; }
  // Names the problem and the rule; OK when there is none.
  const absl::Status& first_unreadable() const { return first_unreadable_; }

  // InvalidArgument when more than max_frac of the answers of `data`, an entry of the configuration, cannot be read, or
  // none can: says how many, which is the first, and what to do.
  absl::Status Judge(const std::string& data, double max_frac) const;
  // "3 of 400 reference answers of data.d cannot be read by the rules of rewards.p; ... The first: ...". Empty when all
  // can be.
  std::string Summary(const std::string& data) const;

 private:
  const RewardProfile& profile_;
  int64_t num_answers_ = 0, num_unreadable_ = 0;
  absl::Status first_unreadable_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_REFERENCES_H_
