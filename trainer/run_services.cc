#include "trainer/run_services.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/machine_memory.h"
#include "model/device.h"

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

MemoryPlace PlaceOfModels(c10::Device device) {
  if (device.is_cpu()) return {.bytes = MachineMemoryBytes()};
  const int64_t total = MemoryOf(device).total_bytes;
  return {.bytes = total > 0 ? std::make_optional(total) : std::nullopt,
          .name = absl::StrCat("each GPU, as rank 0's ", DeviceModel(device), ",")};
}

void TellOfDevice(c10::Device device, const std::string& saved_on, StatusBoard* board) {
  board->Update([&](v1::RunStatus& status) { status.set_device(DeviceText(device)); });
  const std::string now = DeviceName(device);
  if (saved_on.empty() || saved_on == now) return;
  const std::string text = absl::StrCat("the run goes on on ", now, ", where its checkpoint was saved on ", saved_on,
                                        ": from here on results differ from those of a run that stayed where it was");
  spdlog::warn("{}", text);
  board->SetAlert("device", text);
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
