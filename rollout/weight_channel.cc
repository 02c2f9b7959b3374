#include "rollout/weight_channel.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "coordinator/weight_channels.h"
#include "rollout/borrow_weights.h"
#include "rollout/policy_loader.h"
#include "rollout/pull_policy.h"

namespace grpo {
namespace {

class GrpcWeightChannel final : public WeightChannel {
 public:
  GrpcWeightChannel(std::shared_ptr<rpc::Client> client, Session* session, at::Device device)
      : loader_(device), puller_(std::move(client), session, &loader_) {}

  absl::StatusOr<HeldPolicy> Fetch(const v1::PolicyRef& policy, int64_t lease_id, const HeldPolicy* previous) override {
    return puller_.Pull(policy, lease_id, previous);
  }

 private:
  PolicyLoader loader_;
  PolicyPuller puller_;
};

// Whatever goes wrong here, gRPC has the time to try again.
class MemfdWeightChannel final : public WeightChannel {
 public:
  MemfdWeightChannel(std::string socket, std::shared_ptr<rpc::Client> client, Session* session, at::Device device)
      : socket_(std::move(socket)), loader_(device), puller_(std::move(client), session, &loader_) {}

  absl::StatusOr<HeldPolicy> Fetch(const v1::PolicyRef& policy, int64_t lease_id, const HeldPolicy* previous) override {
    absl::StatusOr<HeldPolicy> held = Borrow(policy, previous);
    if (held.ok()) {
      falling_back_ = false;
      return held;
    }
    // Those are answers; gRPC's next one is the same, or another version's turn has come.
    const bool expected = absl::IsNotFound(held.status()) || absl::IsUnavailable(held.status());
    if (!falling_back_ && !expected) {
      spdlog::warn("weights come by gRPC, not through shared memory: {}", std::string(held.status().message()));
      falling_back_ = true;
    }
    return puller_.Pull(policy, lease_id, previous);
  }

 private:
  absl::StatusOr<HeldPolicy> Borrow(const v1::PolicyRef& policy, const HeldPolicy* previous) {
    absl::StatusOr<std::unique_ptr<WeightSource>> source = BorrowWeights(socket_, policy);
    if (!source.ok()) return source.status();
    return loader_.Load(**source, previous);
  }

  const std::string socket_;
  PolicyLoader loader_;
  PolicyPuller puller_;
  // The last version came by gRPC, and the log says why.
  bool falling_back_ = false;
};

}  // namespace

std::vector<std::string> WeightChannelNames() {
  return {kMemfdChannel, kGrpcChannel};
}

absl::StatusOr<std::unique_ptr<WeightChannel>> MakeWeightChannel(const std::string& name,
                                                                 std::shared_ptr<rpc::Client> client, Session* session,
                                                                 at::Device device) {
  if (name == kGrpcChannel) return std::make_unique<GrpcWeightChannel>(std::move(client), session, device);
  if (ChannelName(name) == kMemfdChannel)
    return std::make_unique<MemfdWeightChannel>(std::string(ChannelAddress(name)), std::move(client), session, device);
  return absl::InvalidArgumentError(absl::StrCat("there is no weight channel \"", name, "\" here, known are ",
                                                 absl::StrJoin(WeightChannelNames(), ", ")));
}

}  // namespace grpo
