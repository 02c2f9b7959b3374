// What rank 0 sets up around its services, each until the object is gone.
#ifndef GRPO_TRAINER_RUN_SERVICES_H_
#define GRPO_TRAINER_RUN_SERVICES_H_

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "common/rpc/certificate_keeper.h"
#include "configs/network_options.h"
#include "coordinator/coordinator.h"
#include "coordinator/local_weights.h"
#include "trainer/memory_need.h"
#include "trainer/run_config.h"
#include "trainer/status/status_board.h"

namespace grpo {

// Lends weights to workers on this machine; null where that is not wanted or cannot be, and they pull them like all
// others. `coordinator` outlives it.
std::unique_ptr<LocalWeights> LendWeights(const RunConfig& config, const std::string& run_dir,
                                          Coordinator* coordinator);

// Renews the certificates that the run made for itself; null where it has none. What is amiss is an alert on the board,
// which outlives it. When this returns they are good, if they can be.
std::unique_ptr<rpc::CertificateKeeper> KeepCertificates(const NetworkOptions& network, StatusBoard* board);

// The bound on what the models take: the device's own memory, or the machine's on the CPU.
MemoryPlace PlaceOfModels(c10::Device device);

// What the ranks compute on, on the board for good; and where that is another kind of device than the one that the
// checkpoint was saved on (`saved_on`, empty without one), an alert.
void TellOfDevice(c10::Device device, const std::string& saved_on, StatusBoard* board);

// c10d has no encryption: where ranks are on several machines, says so once in the log, and on the board for good.
void WarnOfOpenTraffic(const NetworkOptions& network, int world_size, StatusBoard* board);

}  // namespace grpo

#endif  // GRPO_TRAINER_RUN_SERVICES_H_
