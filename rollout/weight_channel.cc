#include "rollout/weight_channel.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "rollout/pull_policy.h"

namespace grpo {
namespace {

class GrpcWeightChannel final : public WeightChannel {
 public:
  GrpcWeightChannel(std::shared_ptr<rpc::Client> client, Session* session)
      : client_(std::move(client)), session_(session) {}

  absl::StatusOr<HeldPolicy> Fetch(const v1::PolicyRef& policy, int64_t lease_id, const HeldPolicy* previous) override {
    return PullPolicy(*client_, policy, lease_id, *session_, previous);
  }

 private:
  const std::shared_ptr<rpc::Client> client_;
  Session* const session_;
};

}  // namespace

std::vector<std::string> WeightChannelNames() {
  return {"grpc"};
}

absl::StatusOr<std::unique_ptr<WeightChannel>> MakeWeightChannel(const std::string& name,
                                                                 std::shared_ptr<rpc::Client> client,
                                                                 Session* session) {
  if (name == "grpc") return std::make_unique<GrpcWeightChannel>(std::move(client), session);
  return absl::InvalidArgumentError(absl::StrCat("there is no weight channel \"", name, "\" here, known are ",
                                                 absl::StrJoin(WeightChannelNames(), ", ")));
}

}  // namespace grpo
