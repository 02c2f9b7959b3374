#include "absl/strings/str_cat.h"
#include "trainer/loss/loss.h"

namespace grpo {

#define LOSS(name, factory, policy_gradient) std::unique_ptr<Loss> factory(const LossOptions& options);
#include "trainer/losses.inc"
#undef LOSS

const std::vector<LossInfo>& ListLosses() {
  static const auto* losses = new std::vector<LossInfo>{
#define LOSS(name, factory, policy_gradient) {#name, policy_gradient},
#include "trainer/losses.inc"
#undef LOSS
  };
  return *losses;
}

absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const std::string& name, const LossOptions& options) {
#define LOSS(loss_name, factory, policy_gradient) \
  if (name == #loss_name) return factory(options);
#include "trainer/losses.inc"
#undef LOSS
  return absl::InvalidArgumentError(absl::StrCat("there is no loss named ", name, "; trainer/losses.inc lists them"));
}

}  // namespace grpo
