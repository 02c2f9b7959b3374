#include "rollout/borrow_weights.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/shared_memory.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"
#include "model/weights/manifest.h"
#include "proto/coordinator.pb.h"

namespace grpo {
namespace {

// For each step of the exchange; the coordinator copies the weights before it answers.
constexpr absl::Duration kPatience = absl::Seconds(20);
// Tens of thousands of tensors.
constexpr int64_t kMaxManifestBytes = int64_t{64} << 20;

class BorrowedWeights final : public WeightSource {
 public:
  BorrowedWeights(v1::WeightsManifest manifest, Descriptor socket, Descriptor memory)
      : WeightSource(std::move(manifest)), socket_(std::move(socket)), memory_(std::move(memory)) {}

 protected:
  absl::Status Copy(int64_t offset, absl::Span<char> out) const override {
    return ReadSharedMemory(memory_.get(), offset, out);
  }

 private:
  // Open as long as the memory is needed: its end, of this process too, tells the coordinator.
  const Descriptor socket_;
  const Descriptor memory_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> BorrowWeights(const std::string& socket, const v1::PolicyRef& policy) {
  ASSIGN_OR_RETURN(Descriptor connected, ConnectUnix(socket, kPatience));
  v1::PullWeightsRequest request;
  *request.mutable_policy() = policy;
  RETURN_IF_ERROR(SendUnix(connected.get(), 0, request.SerializeAsString()));
  ASSIGN_OR_RETURN(UnixMessage answer, ReceiveUnix(connected.get(), kMaxManifestBytes));
  if (answer.code != 0) return absl::Status(static_cast<absl::StatusCode>(answer.code), answer.bytes);
  v1::WeightsManifest manifest;
  if (!manifest.ParseFromString(answer.bytes)) return absl::DataLossError("the answer is no manifest");
  RETURN_IF_ERROR(CheckManifest(manifest));
  if (manifest.policy().policy_id() != policy.policy_id() || manifest.policy().number() != policy.number()) {
    return absl::DataLossError(
        absl::StrCat("the manifest is of ", manifest.policy().policy_id(), " version ", manifest.policy().number()));
  }
  RETURN_IF_ERROR(CheckSharedMemory(answer.passed.get(), manifest.payload_bytes()));
  return std::make_unique<BorrowedWeights>(std::move(manifest), std::move(connected), std::move(answer.passed));
}

}  // namespace grpo
