#include "trainer/run_services.h"

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace grpo {

std::unique_ptr<LocalWeights> LendWeights(const RunConfig& config, const std::string& run_dir,
                                          Coordinator* coordinator) {
  if (!config.coordinator.shared_memory_weights) return nullptr;
  const std::string socket = std::filesystem::absolute(run_dir) / "weights.sock";
  absl::StatusOr<std::unique_ptr<LocalWeights>> served =
      LocalWeights::Serve(coordinator, {.socket = socket, .buffers = {.num_threads = config.trainer.threads}});
  if (served.ok()) return *std::move(served);
  spdlog::warn("weights go to all workers by gRPC, to none through shared memory: {}",
               std::string(served.status().message()));
  return nullptr;
}

std::unique_ptr<rpc::CertificateKeeper> KeepCertificates(const NetworkOptions& network, StatusBoard* board) {
  if (network.run_certificates.empty()) return nullptr;
  return std::make_unique<rpc::CertificateKeeper>(
      network.run_certificates, [board](const std::string& alarm) { board->SetAlert("certificates", alarm); });
}

void WarnOfOpenTraffic(const NetworkOptions& network, int world_size, StatusBoard* board) {
  if (world_size == 1 || network.private_interface.empty()) return;
  const std::string text = absl::StrCat(
      "the trainer's ", world_size, " ranks send batches, gradients and weights over ", network.private_interface,
      " WITHOUT ENCRYPTION OR AUTHENTICATION, for c10d has none: nobody else may reach that network");
  spdlog::warn("{}", text);
  board->SetAlert("ranks", text);
}

}  // namespace grpo
