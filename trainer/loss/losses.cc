#include <ATen/TensorOperators.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/loss/loss.h"
#include "trainer/loss/loss_plugin.h"

namespace grpo {

#define LOSS(name) LossPlugin Loss_##name();
#include "trainer/losses.inc"
#undef LOSS

// Only tests define it.
[[gnu::weak]] Registry<LossPlugin>::Entries ToyLosses();

namespace {

// A loss that counts more or less, as its term says.
class ScaledLoss : public Loss {
 public:
  ScaledLoss(std::unique_ptr<Loss> loss, Schedule coefficient)
      : loss_(std::move(loss)), coefficient_(std::move(coefficient)) {}

  absl::Status Begin(const LossModels& models) override { return loss_->Begin(models); }
  std::vector<std::string> streams() const override { return loss_->streams(); }
  std::vector<NeededOutputs> outputs() const override { return loss_->outputs(); }
  NamedTensors parameters() const override { return loss_->parameters(); }
  LossOutput Compute(const LossInput& input) const override {
    LossOutput output = loss_->Compute(input);
    output.loss = output.loss * coefficient_.At(input.done_frac);
    return output;
  }

 private:
  const std::unique_ptr<Loss> loss_;
  const Schedule coefficient_;
};

const Registry<LossPlugin>& Losses() {
  static const auto* const registry = new Registry<LossPlugin>("loss",
                                                               {
#define LOSS(name) {#name, Loss_##name()},
#include "trainer/losses.inc"
#undef LOSS
                                                               },
                                                               ToyLosses);
  return *registry;
}

}  // namespace

const std::vector<LossInfo>& ListLosses() {
  static const auto* const infos = [] {
    auto* const all = new std::vector<LossInfo>;
    for (const auto& [name, plugin] : Losses().entries())
      all->push_back({.name = name, .summary = plugin.summary, .policy_gradient = plugin.traits.policy_gradient});
    return all;
  }();
  return *infos;
}

absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const std::string& name, const Section& options) {
  ASSIGN_OR_RETURN(const LossPlugin* const plugin, Losses().Find(name));
  absl::StatusOr<std::unique_ptr<Loss>> loss = plugin->make(options);
  if (!loss.ok()) return Annotate(loss.status(), absl::StrCat("loss ", name));
  return loss;
}

absl::StatusOr<std::vector<std::unique_ptr<Loss>>> MakeLosses(const std::vector<LossTerm>& terms) {
  std::vector<std::unique_ptr<Loss>> losses;
  for (const LossTerm& term : terms) {
    ASSIGN_OR_RETURN(std::unique_ptr<Loss> loss, MakeLoss(term.name, term.options));
    if (!term.coefficient.Stays(1)) loss = std::make_unique<ScaledLoss>(std::move(loss), term.coefficient);
    losses.push_back(std::move(loss));
  }
  return losses;
}

absl::Status ExpectStreams(const std::vector<std::unique_ptr<Loss>>& losses,
                           const std::map<std::string, at::Tensor>& streams) {
  for (const auto& loss : losses) {
    for (const std::string& name : loss->streams()) {
      if (streams.contains(name)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("a loss reads ", name, ", which neither the batch nor a frozen policy fills"));
    }
  }
  return absl::OkStatus();
}

}  // namespace grpo
